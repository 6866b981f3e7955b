"""Find wrong labels among images of your own."""
