// Package podspec holds the rules of the API v1.37 for the PodSpec: what an
// unset field means (Default, DefaultTemplate, DefaultPod) and what is refused
// (ValidateSpec, ValidateTemplate). The Pod itself, and every kind that embeds a
// pod template, is built on it.
//
// All functions are pure. Validation reports every error at once, each with its
// full path and in the API's own wording, because people and programs match on
// it. One file holds one concern; validate.go lists them in the order in which
// their errors are reported.
//
// Optional behaviour of the API is decided as v1.37 ships it: rules of features
// that are on by default are always on, and fields of features that are off by
// default are dropped before validation (see the core package's drop rules).
package podspec
