package iotcore

import (
	"strings"
	"testing"
)

const testPolicy = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"iot:Connect",
  "Resource":"arn:aws:iot:us-east-1:000000000000:client/${iot:Connection.Thing.ThingName}"},
 {"Effect":"Allow","Action":["iot:Publish","iot:Receive"],
  "Resource":["arn:aws:iot:us-east-1:000000000000:topic/fan/${iot:ClientId}/*",
   "arn:aws:iot:us-east-1:000000000000:topic/v?"]},
 {"Effect":"Deny","Action":"iot:Pub*","Resource":"arn:aws:iot:us-east-1:000000000000:topic/fan/*/secret"}]}`

func TestPolicyJudge(t *testing.T) {
	d, err := parsePolicy(testPolicy)
	if err != nil {
		t.Fatal(err)
	}
	thing := connection{ClientID: "fan-01", Thing: "fan-01"}
	for _, c := range []struct {
		who              connection
		action, resource string
		want             verdict
	}{
		{thing, "iot:Connect", "client/fan-01", allowed},
		{thing, "iot:Connect", "client/fan-02", silent},
		{connection{ClientID: "fan-01"}, "iot:Connect", "client/fan-01", silent}, // the thing is not resolved
		{thing, "iot:Publish", "topic/fan/fan-01/rpm", allowed},
		{thing, "iot:Publish", "topic/fan/fan-01/a/b", allowed}, // * spans levels
		{thing, "iot:Publish", "topic/fan/fan-02/rpm", silent},
		{thing, "iot:Publish", "topic/fan/fan-01/secret", denied},
		{thing, "iot:Receive", "topic/fan/fan-01/secret", allowed},
		{thing, "iot:Subscribe", "topicfilter/fan/fan-01/rpm", silent},
		{thing, "iot:Publish", "topic/v1", allowed},
		{thing, "iot:Publish", "topic/v", silent},
		{connection{ClientID: "*"}, "iot:Publish", "topic/fan/fan-01/rpm", silent}, // a name is no wildcard
		{connection{ClientID: "*"}, "iot:Publish", "topic/fan/*/rpm", allowed},
	} {
		if got := d.judge(c.who, c.action, "arn:aws:iot:us-east-1:000000000000:"+c.resource); got != c.want {
			t.Errorf("%+v %s %s: got %d, want %d", c.who, c.action, c.resource, got, c.want)
		}
	}
}

func TestPolicyRefuses(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":` + s + `}` }
	for document, want := range map[string]string{
		``:   "not the JSON",
		`[]`: "not the JSON",
		`{"Version":"2008-10-17","Statement":[]}`: "2012-10-17",
		statement(`[]`): "non-empty",
		statement(`{"Effect":"Maybe","Action":"iot:Publish","Resource":"*"}`):                            "Allow or Deny",
		statement(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`):                           "s3:GetObject",
		statement(`{"Effect":"Allow","Action":"iot:Publish","Resource":"topic/a"}`):                      "no ARN",
		statement(`{"Effect":"Allow","Action":"iot:Publish"}`):                                           "Resource",
		statement(`{"Effect":"Allow","Action":"iot:Publish","Resource":"*","Condition":{}}`):             "Condition",
		statement(`{"Effect":"Allow","NotAction":"iot:Publish","Resource":"*"}`):                         "NotAction",
		statement(`{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:::topic/${aws:X}"}`): "${aws:X}",
		statement(`{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:::topic/${iot:X"}`):  "not closed",

		statement(`{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:` + strings.Repeat("a", 2048) + `"}`): "2048",
		statement(`{"Effect":"Allow","Action":"iot:Publish","Resource":"*"}`) + "{}":                              "follows",
	} {
		if _, err := parsePolicy(document); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: got %v, want an error with %q", document, err, want)
		}
	}
}

// TestGlobIsQuick guards against exponential backtracking.
func TestGlobIsQuick(t *testing.T) {
	p, err := parsePattern(strings.Repeat("*a", 500)+"b", true)
	if err != nil {
		t.Fatal(err)
	}
	if p.match(connection{}, strings.Repeat("a", 5000)) {
		t.Error("matched")
	}
}

// FuzzPolicy: a document that parses judges without a panic, and one without Allow never allows.
func FuzzPolicy(f *testing.F) {
	f.Add(testPolicy, "fan-01", "iot:Publish", "topic/fan/fan-01/x")
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`, "", "", "")
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"arn:${*}$${?}${$}*"}}`, "*",
		"iot:Connect", "arn:*")
	f.Fuzz(func(t *testing.T, document, client, action, resource string) {
		d, err := parsePolicy(document)
		if err != nil {
			return
		}
		got := d.judge(connection{ClientID: client, Thing: client}, action, resource)
		if got == allowed && !strings.Contains(document, "Allow") && !strings.Contains(document, `\`) {
			t.Errorf("%q allows", document)
		}
	})
}
