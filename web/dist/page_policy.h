/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "18ef2ea7260c6dc4cef8f5eb9831f586"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-3raBqJ4vC7X2+ZP2UzLLnaBVQPShBPpSQ0QciDxKFn0='; " \
    "style-src 'sha256-PAyn6oA4iJqdRIz6iMvIWb0/WQA2Gh2ZWH8vNaNwokM='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
