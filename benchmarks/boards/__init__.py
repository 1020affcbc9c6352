"""What goes to another machine and comes back: lines with a time limit, leansight as a wheel."""
