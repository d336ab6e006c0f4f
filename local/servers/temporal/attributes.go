package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
)

const typeNames = "Bool, Datetime, Double, Int, Keyword, KeywordList, Text"

// registrySettles is longer than system.namespaceCacheRefreshInterval (2 s): after it every service of the process
// has read the namespace again and knows a search attribute that was added to it.
const registrySettles = 2500 * time.Millisecond

// attributes are the custom search attributes asked for by name. SQLite has 10 columns for Keyword and 3 for each other
// type; more are refused when they are registered.
type attributes map[string]enums.IndexedValueType

// String lists the attributes as they are given on the command line.
func (a attributes) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		all = append(all, name+"="+a[name].String())
	}
	return strings.Join(all, " ")
}

// Set takes one Name=Type.
func (a attributes) Set(s string) error {
	name, typ, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return fmt.Errorf("%q is not Name=Type", s)
	}
	for _, known := range strings.Split(typeNames, ", ") {
		if typ != known {
			continue
		}
		v := enums.IndexedValueType(enums.IndexedValueType_shorthandValue[known])
		if was, ok := a[name]; ok && was != v {
			return fmt.Errorf("%s is given twice, as %s and %s", name, was, v)
		}
		a[name] = v
		return nil
	}
	return fmt.Errorf("%q: type %q is none of %s", s, typ, typeNames)
}

// register adds the attributes that the namespace lacks and returns once all services know them. It is idempotent; an
// attribute that exists with another type is an error, because nothing can change it.
func (a attributes) register(ctx context.Context, c client.Client, namespace string) error {
	if len(a) == 0 {
		return nil
	}
	have, err := c.OperatorService().ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("list search attributes: %w", err)
	}
	missing := attributes{}
	for name, want := range a {
		switch is, ok := have.GetCustomAttributes()[name]; {
		case !ok:
			missing[name] = want
		case is != want:
			return fmt.Errorf("search attribute %s exists as %s and cannot become %s: choose another name or a new database",
				name, is, want)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: missing,
	})
	if err != nil {
		return fmt.Errorf("add search attributes %s: %w", missing, err)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(registrySettles):
		return nil
	}
}
