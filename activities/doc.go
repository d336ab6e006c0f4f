// Package activities does what workflows decide: one struct per concern, each with the one or two
// methods that it needs of the outside declared beside it. Adapters for AWS come from package cloud and
// are put in by package workers, so nothing here, and nothing in workflows, links an AWS package.
//
// Every activity may run more than once; each says how it converges.
package activities
