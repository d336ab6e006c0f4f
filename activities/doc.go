// Package activities holds the activities of the workflows: one struct per concern, beside it the interface of what it
// needs from outside. Package workers joins them to AWS by package cloud, so that neither this package nor workflows
// links an AWS package.
//
// Every activity may run more than once; its comment says how it converges.
package activities
