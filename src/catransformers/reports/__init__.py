"""What people see: tables, figures, the HTML report."""
