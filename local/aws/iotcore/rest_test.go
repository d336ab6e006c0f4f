package iotcore_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	"github.com/aws/smithy-go"

	"fanwatch/local/aws/iotcore"
)

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestThings(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	attributes := func(kv ...string) *types.AttributePayload {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return &types.AttributePayload{Attributes: m}
	}
	create := func(name string, a *types.AttributePayload) error {
		_, err := r.iot.CreateThing(ctx, &iot.CreateThingInput{ThingName: &name, AttributePayload: a})
		return err
	}
	r.must(create("fan-01", attributes("site", "a")))
	r.must(create("fan-01", attributes("site", "a"))) // the same again
	for _, x := range []struct {
		name, want string
		a          *types.AttributePayload
	}{
		{"fan-01", "ResourceAlreadyExistsException", attributes("site", "b")},
		{"fan 02", "InvalidRequestException", nil},
		{"fan-02", "InvalidRequestException", attributes("a", "1", "b", "2", "c", "3", "d", "4")},
		{"fan-02", "InvalidRequestException", attributes("a", "with space")},
	} {
		if got := code(create(x.name, x.a)); got != x.want {
			t.Errorf("create %s: %s, want %s", x.name, got, x.want)
		}
	}
	update := attributes("site", "", "room", "7")
	update.Merge = true
	_, err := r.iot.UpdateThing(ctx, &iot.UpdateThingInput{ThingName: aws.String("fan-01"), AttributePayload: update,
		ExpectedVersion: aws.Int64(1)})
	r.must(err)
	_, err = r.iot.UpdateThing(ctx, &iot.UpdateThingInput{ThingName: aws.String("fan-01"), AttributePayload: update,
		ExpectedVersion: aws.Int64(1)})
	if code(err) != "VersionConflictException" {
		t.Errorf("update of an old version: %v", err)
	}
	got, err := r.iot.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: aws.String("fan-01")})
	r.must(err)
	if got.Version != 2 || len(got.Attributes) != 1 || got.Attributes["room"] != "7" ||
		*got.ThingArn != arnPrefix+"thing/fan-01" {
		t.Errorf("described as %+v", got)
	}
	for i := range 7 {
		r.must(create(fmt.Sprintf("many:%d", i), attributes("kind", "m")))
	}
	var names []string
	pages := iot.NewListThingsPaginator(r.iot, &iot.ListThingsInput{MaxResults: aws.Int32(3),
		AttributeName: aws.String("kind"), AttributeValue: aws.String("m")})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		r.must(err)
		for _, x := range p.Things {
			names = append(names, *x.ThingName)
		}
	}
	if strings.Join(names, " ") != "many:0 many:1 many:2 many:3 many:4 many:5 many:6" {
		t.Errorf("listed %v", names)
	}
	for range 2 { // deleting what is not there is no error
		_, err = r.iot.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: aws.String("fan-01")})
		r.must(err)
	}
	_, err = r.iot.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: aws.String("fan-01")})
	if code(err) != "ResourceNotFoundException" {
		t.Errorf("describe a deleted thing: %v", err)
	}
}

func TestCertificatesAndPolicies(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	d := r.provision("fan-01", open)
	expect := func(what, want string, err error) {
		t.Helper()
		if code(err) != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	seen, err := r.iot.DescribeCertificate(ctx, &iot.DescribeCertificateInput{CertificateId: &d.certificateID})
	r.must(err)
	c := seen.CertificateDescription
	if c.Status != types.CertificateStatusActive || *c.CertificatePem != string(d.certPEM) ||
		*c.CertificateArn != d.certificateARN || c.CreationDate.IsZero() || c.Validity.NotAfter.Year() != 2049 {
		t.Errorf("described as %+v", c)
	}
	principals, err := r.iot.ListThingPrincipals(ctx, &iot.ListThingPrincipalsInput{ThingName: aws.String("fan-01")})
	r.must(err)
	policies, err := r.iot.ListAttachedPolicies(ctx, &iot.ListAttachedPoliciesInput{Target: &d.certificateARN})
	r.must(err)
	if len(principals.Principals) != 1 || principals.Principals[0] != d.certificateARN || len(policies.Policies) != 1 ||
		*policies.Policies[0].PolicyName != "policy-fan-01" {
		t.Errorf("attached: %v, %+v", principals.Principals, policies.Policies)
	}
	name := aws.String("policy-fan-01")
	_, err = r.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: name, PolicyDocument: aws.String(open)})
	expect("the same policy again", "ResourceAlreadyExistsException", err)
	_, err = r.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: aws.String("p2"),
		PolicyDocument: aws.String("{}")})
	expect("an empty policy", "MalformedPolicyException", err)
	_, err = r.iot.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: aws.String("p2")})
	expect("get no policy", "ResourceNotFoundException", err)
	got, err := r.iot.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: name})
	if r.must(err); *got.PolicyDocument != open {
		t.Errorf("policy %s", *got.PolicyDocument)
	}
	_, err = r.iot.CreateCertificateFromCsr(ctx,
		&iot.CreateCertificateFromCsrInput{CertificateSigningRequest: aws.String("no CSR")})
	expect("no CSR", "InvalidRequestException", err)

	remove := func() error {
		_, err := r.iot.DeleteCertificate(ctx, &iot.DeleteCertificateInput{CertificateId: &d.certificateID})
		return err
	}
	expect("delete an active certificate", "CertificateStateException", remove())
	_, err = r.iot.DeletePolicy(ctx, &iot.DeletePolicyInput{PolicyName: name})
	expect("delete an attached policy", "DeleteConflictException", err)
	_, err = r.iot.DeleteThing(ctx, &iot.DeleteThingInput{ThingName: aws.String("fan-01")})
	expect("delete an attached thing", "InvalidRequestException", err)
	_, err = r.iot.UpdateCertificate(ctx, &iot.UpdateCertificateInput{CertificateId: &d.certificateID,
		NewStatus: types.CertificateStatusInactive})
	r.must(err)
	expect("delete an attached certificate", "DeleteConflictException", remove())
	_, err = r.iot.DetachThingPrincipal(ctx, &iot.DetachThingPrincipalInput{ThingName: aws.String("fan-01"),
		Principal: &d.certificateARN})
	r.must(err)
	expect("delete a certificate with policies", "DeleteConflictException", remove())
	_, err = r.iot.DetachPolicy(ctx, &iot.DetachPolicyInput{PolicyName: name, Target: &d.certificateARN})
	r.must(err)
	r.must(remove())
	expect("delete it again", "ResourceNotFoundException", remove())
	_, err = r.iot.DeletePolicy(ctx, &iot.DeletePolicyInput{PolicyName: name})
	r.must(err)
}

func TestRules(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.rule("demo", "SELECT * FROM 'a/b'", "${fan}")
	create := func(name string, p *types.TopicRulePayload) error {
		_, err := r.iot.CreateTopicRule(ctx, &iot.CreateTopicRuleInput{RuleName: &name, TopicRulePayload: p})
		return err
	}
	lambda := rulePayload("SELECT * FROM 'a'", "x")
	lambda.Actions = append(lambda.Actions,
		types.Action{Lambda: &types.LambdaAction{FunctionArn: aws.String("arn:aws:lambda:::f")}})
	none := rulePayload("SELECT * FROM 'a'", "x")
	none.Actions = []types.Action{}
	for _, x := range []struct {
		name, want, says string
		p                *types.TopicRulePayload
	}{
		{"demo", "ResourceAlreadyExistsException", "demo", rulePayload("SELECT * FROM 'a'", "x")},
		{"with-hyphen", "InvalidRequestException", "rule name", rulePayload("SELECT * FROM 'a'", "x")},
		{"bad", "SqlParseException", "abs()", rulePayload("SELECT abs(a) AS b FROM 'a'", "x")},
		{"bad", "SqlParseException", "partitionKey", rulePayload("SELECT * FROM 'a'", "${")},
		{"bad", "InvalidRequestException", "lambda", lambda},
		{"bad", "InvalidRequestException", "1 to 10 actions", none},
	} {
		if err := create(x.name, x.p); code(err) != x.want || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v, want %s saying %q", x.name, err, x.want, x.says)
		}
	}
	_, err := r.iot.ReplaceTopicRule(ctx, &iot.ReplaceTopicRuleInput{RuleName: aws.String("demo"),
		TopicRulePayload: rulePayload("SELECT x FROM 'c'", "${k}")})
	r.must(err)
	got, err := r.iot.GetTopicRule(ctx, &iot.GetTopicRuleInput{RuleName: aws.String("demo")})
	r.must(err)
	if k := got.Rule.Actions[0].Kinesis; *got.Rule.Sql != "SELECT x FROM 'c'" || *k.PartitionKey != "${k}" ||
		*k.StreamName != "readings" || *got.Rule.ErrorAction.Kinesis.StreamName != "errors" ||
		*got.RuleArn != arnPrefix+"rule/demo" {
		t.Errorf("rule %+v", got.Rule)
	}
	_, err = r.iot.DeleteTopicRule(ctx, &iot.DeleteTopicRuleInput{RuleName: aws.String("demo")})
	r.must(err)
	for what, err := range map[string]error{
		"get": second(r.iot.GetTopicRule(ctx, &iot.GetTopicRuleInput{RuleName: aws.String("demo")})),
		"replace": second(r.iot.ReplaceTopicRule(ctx, &iot.ReplaceTopicRuleInput{RuleName: aws.String("demo"),
			TopicRulePayload: rulePayload("SELECT x", "k")})),
		"delete": second(r.iot.DeleteTopicRule(ctx, &iot.DeleteTopicRuleInput{RuleName: aws.String("demo")})),
	} {
		if code(err) != "UnauthorizedException" { // what AWS says of a rule that is not there
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestUnknownOperations: 501 with the name, which no SDK takes for a passing fault.
func TestUnknownOperations(t *testing.T) {
	r := newRig(t)
	_, err := r.iot.ListCertificates(t.Context(), &iot.ListCertificatesInput{})
	expectNotImplemented(t, err, "ListCertificates")
	_, err = r.iot.ListStreams(t.Context(), &iot.ListStreamsInput{})
	expectNotImplemented(t, err, "GET /streams")
	data := newDataClient(r.server.RESTAddr())
	_, err = data.ListRetainedMessages(t.Context(), &iotdataplane.ListRetainedMessagesInput{})
	expectNotImplemented(t, err, "ListRetainedMessages")
	_, err = r.iot.DescribeEndpoint(t.Context(), &iot.DescribeEndpointInput{EndpointType: aws.String("iot:Jobs")})
	if code(err) != "InvalidRequestException" {
		t.Error(err)
	}
	_, err = r.iot.CreateThing(t.Context(), &iot.CreateThingInput{ThingName: aws.String("x"),
		ThingTypeName: aws.String("fan")})
	if code(err) != "InvalidRequestException" || !strings.Contains(err.Error(), "thingTypeName") {
		t.Errorf("an unsupported member: %v", err)
	}
}

func expectNotImplemented(t *testing.T, err error, name string) {
	t.Helper()
	var e *awshttp.ResponseError
	if !errors.As(err, &e) || e.HTTPStatusCode() != http.StatusNotImplemented || !strings.Contains(err.Error(), name) {
		t.Errorf("%v, want 501 and %s", err, name)
	}
}

func TestUnsignedAndFaultRequests(t *testing.T) {
	r := newRig(t)
	post := func(path, contentType, body string) int {
		t.Helper()
		res, err := http.Post("http://"+r.server.RESTAddr()+path, contentType, strings.NewReader(body))
		r.must(err)
		res.Body.Close()
		return res.StatusCode
	}
	if got := post("/things/x", "application/json", "{}"); got != http.StatusForbidden {
		t.Errorf("unsigned: %d", got)
	}
	if got := post("/_faults", "text/plain", "{}"); got != http.StatusUnsupportedMediaType {
		t.Errorf("a fault as text: %d", got)
	}
	if got := post("/_faults", "application/json", `{"kind":"delay","delay":"x"}`); got != http.StatusBadRequest {
		t.Errorf("a bad fault: %d", got)
	}
	if got := post("/_faults", "application/json", `{"kind":"fail","operation":"Connect"}`); got != http.StatusNoContent {
		t.Errorf("a fault: %d", got)
	}
	d := r.provision("fan-01", open)
	if _, err := r.dial(d, "fan-01"); err == nil {
		t.Error("the fault does nothing")
	}
	r.connect(d, "fan-01")
}

func TestLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "nonsense"} {
		if _, err := iotcore.New(iotcore.Config{Dir: t.TempDir(), Kinesis: &streams{}, MQTTAddr: addr}); err == nil {
			t.Errorf("%s was accepted", addr)
		}
	}
}
