"""What keeping a Moodle in step costs, measured against the simulator in a process of its own."""
