"""What Airboss tells about itself: the journal that calls leave, metrics and logs."""
