/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "b1fe6e711b82d5699b094c940f45e35f"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-h3s2R8KFB2ga9xG4SSKiYTYXQpUxqID84zhHvtXi52Y='; " \
    "style-src 'sha256-PAyn6oA4iJqdRIz6iMvIWb0/WQA2Gh2ZWH8vNaNwokM='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
