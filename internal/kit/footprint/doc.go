// Package footprint keeps a process's resident memory to what it uses when it has
// nothing to do. Go's collector knows no idleness: it lets the heap grow to twice
// what lives, and an idle process keeps that for minutes or hours. And a mapped
// program stays resident where it was touched once, by the start most of all.
//
//	rest.go     PURE  when has work ended
//	keep.go     the shell: looks every few seconds, gives back
//	program.go  the program's own pages
package footprint
