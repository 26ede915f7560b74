/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "6d1ac99f83d810d6605913cd12c17d70"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-xq2nilZl8jdzY6B3PMXLurxocg8t6ESfbjdc5TDnz/A='; " \
    "style-src 'sha256-PAyn6oA4iJqdRIz6iMvIWb0/WQA2Gh2ZWH8vNaNwokM='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
