"""What every report is made of: tables, HTML pages that need nothing else, and figures."""
