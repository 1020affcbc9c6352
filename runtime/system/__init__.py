"""What a program asks of the operating system."""
