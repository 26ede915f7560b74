/* Made by web/build.mjs of the page beside it. */
#define WEB_PAGE_TAG "4fd5b7c780ea45783f809ff683ed2019"
#define WEB_PAGE_POLICY \
    "default-src 'none'; " \
    "script-src 'sha256-/rPcOd94d9wvTtYNWpZwQOp+5Uk4kYKL7WuEPScb3nc='; " \
    "style-src 'sha256-l2Qt3p9pkBYF0cuvGS7qL07viflYzcMomq2Xm5ZfLac='; " \
    "img-src data:; " \
    "connect-src 'self'; " \
    "base-uri 'none'; " \
    "form-action 'none'; " \
    "frame-ancestors 'none'; " \
    "require-trusted-types-for 'script'; " \
    "trusted-types dompurify"
