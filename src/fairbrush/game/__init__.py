"""Games: worths of coalitions, their exact Shapley values, and what these mean as shares. numpy, no I/O."""
