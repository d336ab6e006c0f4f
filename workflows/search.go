package workflows

import (
	"sync/atomic"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// searchable is whether the namespace has all search attributes.
var searchable atomic.Bool

// UseSearchAttributes says whether the namespace has SearchSite, SearchSeverity and SearchKind. A worker calls it
// before it starts; until then it is false. Runs that begin while it is false never write them, because a namespace
// refuses what it does not know, and the run would stand still.
func UseSearchAttributes(all bool) { searchable.Store(all) }

// SearchKeys returns all search attributes.
func SearchKeys() []temporal.SearchAttributeKeyKeyword {
	return []temporal.SearchAttributeKeyKeyword{SearchFan, SearchState, SearchSite, SearchSeverity, SearchKind}
}

// searchVersion returns the version of a change that writes all search attributes: without, or without+1 where the
// namespace has them. A replay takes what the history says, which a change of the namespace does not change.
func searchVersion(ctx workflow.Context, without workflow.Version) workflow.Version {
	if searchable.Load() || workflow.IsReplaying(ctx) {
		return without + 1
	}
	return without
}

// searched is the value of a search attribute.
type searched struct {
	key   temporal.SearchAttributeKeyKeyword
	value string
}

// index writes those of the search attributes that have another value in the workflow, and none that is empty.
func index(ctx workflow.Context, want ...searched) {
	has := workflow.GetTypedSearchAttributes(ctx)
	var updates []temporal.SearchAttributeUpdate
	for _, s := range want {
		if value, ok := has.GetKeyword(s.key); s.value != "" && (!ok || value != s.value) {
			updates = append(updates, s.key.ValueSet(s.value))
		}
	}
	if len(updates) > 0 {
		_ = workflow.UpsertTypedSearchAttributes(ctx, updates...) // never fails: the namespace has them
	}
}
