"""What every plugin of a kind must do: subclass the suite of its kind in the plugin's tests."""
