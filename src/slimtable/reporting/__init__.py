"""Parts of reports: tables, self-contained HTML pages, and figures."""
