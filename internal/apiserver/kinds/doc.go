// Package kinds holds what is true of every kind that the API serves, as tests:
// testdata is the stock API server's answers to objects of each, and the
// properties are what the server relies on.
package kinds
