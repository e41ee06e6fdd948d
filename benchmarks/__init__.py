"""Speed and cost, measured beside something else in the same run. `./dev bench` lists them."""
