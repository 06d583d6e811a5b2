JOINER = " and "
