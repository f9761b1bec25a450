"""The recipe lab: changes to a recipe, tried at equal compute, judged by a test over seeds."""
