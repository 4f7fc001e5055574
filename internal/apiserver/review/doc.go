// Package review answers the kinds that are questions, not objects: who am I,
// who is the owner of this token, may this user do that. Nothing is stored.
package review
