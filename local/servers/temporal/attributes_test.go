package main

import (
	"strings"
	"testing"
)

func FuzzAttributesSet(f *testing.F) {
	for _, s := range []string{"FanId=Keyword", "Opened=Datetime", "=Int", "Name", "Name=", "Name=Unspecified",
		"A=B=Text"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := attributes{}
		if err := a.Set(s); err != nil {
			if len(a) != 0 {
				t.Fatalf("%q was refused and kept: %s", s, a)
			}
			return
		}
		if a.String() != s {
			t.Fatalf("%q is kept as %q", s, a)
		}
		if err := a.Set(s); err != nil {
			t.Fatalf("%q the second time: %v", s, err)
		}
		name, typ, _ := strings.Cut(s, "=")
		other := "Int"
		if typ == other {
			other = "Text"
		}
		if a.Set(name+"="+other) == nil {
			t.Fatalf("%s took a second type", name)
		}
	})
}
