/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "620e8ba0717ea6314b75fd5d6790afc5"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-FBFqB+WWfhMpMp8rW2EKoh2orQ1x5VZsnuW7TlSAoyM='; " \
    "style-src 'sha256-PAyn6oA4iJqdRIz6iMvIWb0/WQA2Gh2ZWH8vNaNwokM='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
