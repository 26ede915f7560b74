/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "607548524a66a4ea0ae573542154ca24"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-0hKPfp1+hIlEgggCwZCA0hvgcvFlDhC0zQI6twX1GrA='; " \
    "style-src 'sha256-l2Qt3p9pkBYF0cuvGS7qL07viflYzcMomq2Xm5ZfLac='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
