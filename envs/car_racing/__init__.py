"""CarRacing drawn several times faster, with hopeless episodes cut short."""
