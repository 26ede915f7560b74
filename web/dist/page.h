/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "0444c7e439ed79c0390ddbb5ad7ac39d"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-06gItY5ZsP1MGqOApKFbGKsOeSAbAD57itWvRJ3vIIw='; " \
    "style-src 'sha256-l2Qt3p9pkBYF0cuvGS7qL07viflYzcMomq2Xm5ZfLac='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
