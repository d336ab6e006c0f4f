package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"fanwatch/lake"
)

const escape = "x\x1b[2J\ny\t\x00\u2028z"

// TestWhatDevicesSendStaysInItsRow: names with escapes and line breaks neither move a terminal's cursor nor forge rows.
func TestWhatDevicesSendStaysInItsRow(t *testing.T) {
	var out bytes.Buffer
	a := &app{}
	if err := a.printAccounts(&out, []lake.Account{{Fan: escape, Verdict: escape, OK: true}}); err != nil {
		t.Fatal(err)
	}
	if err := a.printHours(&out, []lake.HourAccount{{Fan: escape, OK: true}}); err != nil {
		t.Fatal(err)
	}
	if err := a.printVerdict(&out, lake.VerifyReport{Faults: []string{escape}}); !errors.Is(err, errUnsound) {
		t.Fatal(err)
	}
	if err := printPlaces(&out, lakeState{Catalog: catalogPlace{Kind: escape, Name: escape, Where: escape,
		Warehouse: escape}, Tables: []lake.Status{{Metadata: escape}}, Passed: []string{escape}}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(out.String(), "\n"); strings.ContainsAny(out.String(), "\x1b\x00\u2028") ||
		lines != 2+2+1+3+4 {
		t.Errorf("%d lines: %q", lines, out.String())
	}
}

func TestOrphansMustOutliveAMerge(t *testing.T) {
	var o workerOptions
	o.shards, o.lake.KeepOrphans = 1, 1e9
	if err := o.check(); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "--keep-orphans") {
		t.Errorf("%v", err)
	}
}
