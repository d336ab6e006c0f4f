package activities

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"

	"fanwatch"
)

// Certificate is a device's certificate as AWS IoT Core gave it out. It holds no secret: the key never
// leaves the device.
type Certificate struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
	PEM string `json:"pem"`
}

// Registry is what provisioning needs of AWS IoT Core. Every method but CertificateFromCSR converges
// when it is called again.
type Registry interface {
	CreateThing(ctx context.Context, name string, attributes map[string]string) error
	CertificateFromCSR(ctx context.Context, csrPEM string) (Certificate, error)
	PutPolicy(ctx context.Context, name, document string) error
	AttachPolicy(ctx context.Context, policy, certificateARN string) error
	AttachCertificate(ctx context.Context, thing, certificateARN string) error
	Certificates(ctx context.Context, thing string) (arns []string, err error)
	Policies(ctx context.Context, certificateARN string) (names []string, err error)
	DetachPolicy(ctx context.Context, policy, certificateARN string) error
	Deactivate(ctx context.Context, certificateARN string) error
}

// Recorder writes one record to the stream and waits until it is durable.
type Recorder interface {
	Record(ctx context.Context, partitionKey string, data []byte) error
}

// Provisioner makes fans known to AWS IoT Core and to the scorers.
type Provisioner struct {
	Registry Registry
	Stream   Recorder
	Topics   PolicyTopics
	Policies Policies // the escalation policies that a device may go by
}

// Shadow is the named shadow by which a fan's publisher is configured.
const Shadow = "fanwatch"

// PolicyTopics names what a device may reach, in the form that policies use.
type PolicyTopics struct {
	ARN    string // arn:aws:iot:REGION:ACCOUNT
	Rule   string // topic rule of the batch envelope, reached by Basic Ingest
	Legacy string // topic of the demo's object
}

// CreateThing makes the fan's thing, if its device is one that can be watched. Running it again changes nothing.
func (p *Provisioner) CreateThing(ctx context.Context, d fanwatch.Device) error {
	if err := p.check(d); err != nil {
		return err
	}
	attributes := map[string]string{"fanwatch": "1"}
	return p.Registry.CreateThing(ctx, d.Fan, attributes)
}

// CreateCertificate has the device's CSR signed. Running it again makes another certificate, which
// stays without policy and thing and so may do nothing; the workflow goes on with the one it recorded.
func (p *Provisioner) CreateCertificate(ctx context.Context, csrPEM string) (Certificate, error) {
	return p.Registry.CertificateFromCSR(ctx, csrPEM)
}

// Authorise lets the certificate speak for the fan and nothing else, and ends every other certificate of the fan.
// Without a certificate, because it is not known, every one that is attached to the fan may go on to speak for it.
// Running it again changes nothing.
func (p *Provisioner) Authorise(ctx context.Context, d fanwatch.Device, c Certificate) error {
	if err := p.check(d); err != nil {
		return err
	}
	own := p.Topics.device()
	policies := map[string]string{policyName("device", own): own}
	if len(d.Clients) > 0 {
		document := p.Topics.legacy(d.Clients)
		policies[policyName("legacy-"+d.Fan, document)] = document
	}
	names := slices.Sorted(maps.Keys(policies))
	for _, name := range names {
		if err := p.Registry.PutPolicy(ctx, name, policies[name]); err != nil {
			return err
		}
	}
	if c.ARN == "" {
		arns, err := p.Registry.Certificates(ctx, d.Fan)
		if err != nil {
			return err
		}
		for _, arn := range arns {
			if err := p.attach(ctx, names, arn); err != nil {
				return err
			}
		}
		return nil
	}
	if err := p.attach(ctx, names, c.ARN); err != nil {
		return err
	}
	if err := p.Registry.AttachCertificate(ctx, d.Fan, c.ARN); err != nil {
		return err
	}
	arns, err := p.Registry.Certificates(ctx, d.Fan)
	if err != nil {
		return err
	}
	for _, arn := range arns {
		if arn == c.ARN {
			continue
		}
		if err := p.Registry.Deactivate(ctx, arn); err != nil {
			return err
		}
	}
	return nil
}

// maxPolicies is how many policies AWS IoT Core attaches to one certificate.
const maxPolicies = 10

// attach returns the certificate these policies and takes from it the others that policyName named: they are of clients
// that the fan had before. The new ones come first, so that a device that is connected may go on, unless there is no
// room for them.
func (p *Provisioner) attach(ctx context.Context, names []string, arn string) error {
	has, err := p.Registry.Policies(ctx, arn)
	if err != nil {
		return err
	}
	var missing, stale []string
	for _, name := range names {
		if !slices.Contains(has, name) {
			missing = append(missing, name)
		}
	}
	for _, name := range has {
		if !slices.Contains(names, name) && (strings.HasPrefix(name, "fanwatch-device-") ||
			strings.HasPrefix(name, "fanwatch-legacy-")) {
			stale = append(stale, name)
		}
	}
	for room := maxPolicies - len(has); room < len(missing) && len(stale) > 0; room++ {
		if err := p.Registry.DetachPolicy(ctx, stale[0], arn); err != nil {
			return err
		}
		stale = stale[1:]
	}
	for _, name := range missing {
		if err := p.Registry.AttachPolicy(ctx, name, arn); err != nil {
			return err
		}
	}
	for _, name := range stale {
		if err := p.Registry.DetachPolicy(ctx, name, arn); err != nil {
			return err
		}
	}
	return nil
}

// Deactivate makes certificates of the fan INACTIVE and answers their ARNs: the one of that ARN or ID, or all when
// certificate is empty. Running it again changes nothing.
func (p *Provisioner) Deactivate(ctx context.Context, fan, certificate string) ([]string, error) {
	arns, err := p.Registry.Certificates(ctx, fan)
	if err != nil {
		return nil, err
	}
	if certificate != "" {
		arns = slices.DeleteFunc(arns, func(arn string) bool { return CertificateID(arn) != CertificateID(certificate) })
		if len(arns) == 0 {
			return nil, temporal.NewNonRetryableApplicationError(
				fmt.Sprintf("fan %s has no certificate %.120q: its own is named by fanwatch show %s", fan, certificate, fan),
				"NoCertificate", nil)
		}
	}
	for _, arn := range arns {
		if err := p.Registry.Deactivate(ctx, arn); err != nil {
			return nil, err
		}
	}
	return arns, nil
}

// CertificateID returns the ID in a certificate's ARN; an ID is its own.
func CertificateID(arn string) string {
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

// check refuses a device that names an escalation policy which does not exist: its alerts would go by the default one
// and wake the wrong people. Every change of a device passes through CreateThing or Authorise; the workflow cannot
// ask, for the policies are the worker's. It refuses client IDs that a policy document would read as a pattern, too:
// devices that were stored before the workflow refused them may hold such.
func (p *Provisioner) check(d fanwatch.Device) error {
	for _, c := range d.Clients {
		if err := fanwatch.CheckClient(c); err != nil {
			return temporal.NewNonRetryableApplicationError(fmt.Sprintf("device %s: %v; name its clients anew with "+
				"fanwatch configure %s --client", d.Fan, err, d.Fan), "BadClient", nil)
		}
	}
	if d.Policy == "" {
		return nil
	}
	policies := p.Policies()
	if _, ok := policies[d.Policy]; ok {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf("device %s: there is no escalation policy %.60q: "+
		"use one of %s, or add it to the workers' policy file",
		d.Fan, d.Policy, strings.Join(slices.Sorted(maps.Keys(policies)), ", ")), "NoPolicy", nil)
}

// Announce puts the device on the stream, so that its shard's scorer knows it from that place on.
// Running it again repeats a revision that the scorer already has.
func (p *Provisioner) Announce(ctx context.Context, d fanwatch.Device) error {
	data, err := fanwatch.EncodeDevice(d)
	if err != nil {
		return fmt.Errorf("announce %s: %w", d.Fan, err)
	}
	return p.Stream.Record(ctx, d.Fan, data)
}

// policyName names a policy after what it says: policies are never changed, so another document makes
// another policy, which takes the place of the one before on the fan's certificate.
func policyName(what, document string) string {
	sum := sha256.Sum256([]byte(document))
	return fmt.Sprintf("fanwatch-%s-%x", what, sum[:4])
}

type statement struct {
	Effect   string
	Action   string
	Resource []string
}

// device allows a client that connects under its thing's name to publish its own readings and to use its
// own shadow, without deleting it (AWS IoT developer guide, "Thing policy variables").
func (t PolicyTopics) device() string {
	const thing = "${iot:Connection.Thing.ThingName}"
	const shadow = "/$aws/things/" + thing + "/shadow/name/" + Shadow + "/"
	return policy(
		statement{"Allow", "iot:Connect", []string{t.ARN + ":client/" + thing}},
		statement{"Allow", "iot:Publish", []string{t.ARN + ":topic/$aws/rules/" + t.Rule + "/" + thing, t.ARN + ":topic/" +
			t.Legacy,
			t.ARN + ":topic" + shadow + "get", t.ARN + ":topic" + shadow + "update"}},
		statement{"Allow", "iot:Receive", []string{t.ARN + ":topic" + shadow + "*"}},
		statement{"Allow", "iot:Subscribe", []string{t.ARN + ":topicfilter" + shadow + "*"}},
	)
}

// legacy names the client IDs of a fan that connects under another name than its thing's, where policy
// variables do not resolve.
func (t PolicyTopics) legacy(clients []string) string {
	clients = slices.Clone(clients)
	slices.Sort(clients)
	for i, c := range clients {
		clients[i] = t.ARN + ":client/" + c
	}
	return policy(
		statement{"Allow", "iot:Connect", clients},
		statement{"Allow", "iot:Publish", []string{t.ARN + ":topic/" + t.Legacy}},
	)
}

func policy(statements ...statement) string {
	doc, _ := json.Marshal(struct { // strings alone: it cannot fail
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
	return string(doc)
}
