package cloud

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iot"

	"fanwatch/local/aws/iotcore"
)

const iotPolicy = `{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "iot:Connect",
   "Resource": "arn:aws:iot:us-east-1:000000000000:client/${iot:Connection.Thing.ThingName}"}]}`

func localIoT(t *testing.T) (*iotcore.Server, *IoT) {
	t.Helper()
	s, err := iotcore.New(iotcore.Config{
		Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0",
		Kinesis: iotcore.PutFunc(func(context.Context, string, string, []byte) error { return nil }),
	})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	cfg := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}
	return s, NewIoT(cfg, "http://"+s.RESTAddr())
}

// TestIoTProvisionConverges: every step of provisioning can be repeated, as an activity does after a crash.
func TestIoTProvisionConverges(t *testing.T) {
	_, c := localIoT(t)
	ctx := t.Context()
	cert, err := c.CertificateFromCSR(ctx, "fan-01", testCSR(t))
	if err != nil {
		t.Fatal(err)
	}
	if cert.ID == "" || !strings.HasSuffix(cert.ARN, ":cert/"+cert.ID) ||
		!strings.HasPrefix(cert.PEM, "-----BEGIN CERTIFICATE") {
		t.Errorf("certificate %+v", cert)
	}
	for range 2 {
		for what, err := range map[string]error{
			"thing":              c.CreateThing(ctx, "fan-01", map[string]string{"site": "hall-1"}),
			"policy":             c.PutPolicy(ctx, "fan-policy", iotPolicy),
			"attach policy":      c.AttachPolicy(ctx, "fan-policy", cert.ARN),
			"attach certificate": c.AttachCertificate(ctx, "fan-01", cert.ARN),
		} {
			// The map's order is random: a step whose need is not there yet fails now and succeeds in the next round.
			if err != nil && iotErrorCode(err) != "ResourceNotFoundException" {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if arns, err := c.Certificates(ctx, "fan-01"); err != nil || !slices.Equal(arns, []string{cert.ARN}) {
		t.Errorf("certificates %v, %v", arns, err)
	}
	if arns, err := c.Certificates(ctx, "no-such-fan"); err != nil || arns != nil {
		t.Errorf("certificates of no thing: %v, %v", arns, err)
	}
	if err := c.CreateThing(ctx, "fan-01", map[string]string{"room": "7"}); err != nil {
		t.Error(err)
	}
	thing, err := c.client.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: aws.String("fan-01")})
	if err != nil || len(thing.Attributes) != 1 || thing.Attributes["room"] != "7" {
		t.Errorf("attributes %v, %v", thing.Attributes, err)
	}
}

func TestIoTPutPolicyNamesTheDifference(t *testing.T) {
	_, c := localIoT(t)
	if err := c.PutPolicy(t.Context(), "p", iotPolicy); err != nil {
		t.Fatal(err)
	}
	if err := c.PutPolicy(t.Context(), "p", strings.ReplaceAll(iotPolicy, " ", "")); err != nil {
		t.Errorf("white space is no difference: %v", err)
	}
	err := c.PutPolicy(t.Context(), "p", strings.Replace(iotPolicy, "iot:Connect", "iot:Publish", 1))
	if err == nil || !strings.Contains(err.Error(),
		`at /Statement/0/Action it has "iot:Connect" where "iot:Publish" is wanted`) {
		t.Errorf("got %v", err)
	}
}

func TestIoTPutRuleReplaces(t *testing.T) {
	s, c := localIoT(t)
	r := Rule{Name: "readings", SQL: "SELECT * FROM 'a'", Stream: "s", PartitionKey: "${fan}",
		RoleARN: "arn:aws:iam::000000000000:role/r", ErrorStream: "e"}
	for _, sql := range []string{r.SQL, "SELECT *, timestamp() AS arrived FROM 'a'"} {
		r.SQL = sql
		if err := c.PutRule(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.client.GetTopicRule(t.Context(), &iot.GetTopicRuleInput{RuleName: aws.String("readings")})
	if err != nil {
		t.Fatal(err)
	}
	if k := got.Rule.ErrorAction.Kinesis; *got.Rule.Sql != r.SQL || *k.StreamName != "e" ||
		*k.PartitionKey != "${newuuid()}" {
		t.Errorf("rule %+v", got.Rule)
	}
	r.SQL = "SELECT abs(a) AS b FROM 'a'"
	if err := c.PutRule(t.Context(), r); iotErrorCode(err) != "SqlParseException" {
		t.Errorf("bad SQL: %v", err)
	}
	if endpoint, err := c.Endpoint(t.Context()); err != nil || endpoint != s.MQTTAddr() {
		t.Errorf("endpoint %s, %v", endpoint, err)
	}
}

func testCSR(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "fan-01"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestIoTPolicyIsTakenFromACertificate: a policy that is attached is listed, and detaching it can be repeated.
func TestIoTPolicyIsTakenFromACertificate(t *testing.T) {
	_, c := localIoT(t)
	ctx := t.Context()
	cert, err := c.CertificateFromCSR(ctx, "fan-01", testCSR(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a"} {
		if err := c.PutPolicy(ctx, name, iotPolicy); err != nil {
			t.Fatal(err)
		}
		if err := c.AttachPolicy(ctx, name, cert.ARN); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := c.Policies(ctx, cert.ARN); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("attached %q, %v", names, err)
	}
	for _, name := range []string{"a", "a", "never-made"} {
		if err := c.DetachPolicy(ctx, name, cert.ARN); err != nil {
			t.Error(err)
		}
	}
	if names, err := c.Policies(ctx, cert.ARN); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Errorf("attached %q, %v", names, err)
	}
}
