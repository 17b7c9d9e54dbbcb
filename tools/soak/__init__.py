"""A long haul: a small pipeline again and again, with a collection beside it and the service under load; does anything grow?"""
