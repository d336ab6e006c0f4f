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

// Certificate is a device certificate that AWS IoT Core signed. It holds no secret: the key never leaves the device.
type Certificate struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
	PEM string `json:"pem"`
}

// Registry is what provisioning needs of AWS IoT Core. Every method but CertificateFromCSR may be repeated.
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

// Provisioner registers fans at AWS IoT Core and announces them to the scorers.
type Provisioner struct {
	Registry Registry
	Stream   Recorder
	Topics   PolicyTopics
	Policies Policies // the escalation policies that a device may name
}

// Shadow is the name of the shadow that configures a fan's publisher.
const Shadow = "fanwatch"

// PolicyTopics are the topics that a device's policies allow.
type PolicyTopics struct {
	ARN    string // arn:aws:iot:REGION:ACCOUNT
	Rule   string // topic rule of the batch envelope, reached by Basic Ingest
	Legacy string // topic of the legacy format
}

// CreateThing makes the fan's thing. The error is non-retryable when the device names a policy or a client that it may
// not. Running it again changes nothing.
func (p *Provisioner) CreateThing(ctx context.Context, d fanwatch.Device) error {
	if err := p.check(d); err != nil {
		return err
	}
	attributes := map[string]string{"fanwatch": "1"}
	return p.Registry.CreateThing(ctx, d.Fan, attributes)
}

// CreateCertificate has the device's CSR signed. Running it again makes another certificate, which without policy and
// thing allows nothing; the workflow uses the one that it recorded.
func (p *Provisioner) CreateCertificate(ctx context.Context, csrPEM string) (Certificate, error) {
	return p.Registry.CertificateFromCSR(ctx, csrPEM)
}

// Authorise gives the certificate the fan's policies and thing, and deactivates every other certificate of the fan.
// Where c has no ARN, because the certificate is not known, it gives the policies to every certificate of the fan and
// deactivates none. Running it again changes nothing.
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

// maxPolicies is the largest number of policies that AWS IoT Core attaches to one certificate.
const maxPolicies = 10

// attach attaches the named policies to the certificate and detaches all others that policyName has named. It attaches
// before it detaches, so that a connected device keeps its rights, except where maxPolicies leaves no room.
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

// Deactivate makes certificates of the fan INACTIVE and returns their ARNs: the one of that ARN or ID, or all when
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

// CertificateID returns the ID in a certificate's ARN, or the argument when it is an ID.
func CertificateID(arn string) string {
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

// check refuses a device that names an escalation policy which does not exist, because its alerts would go by the
// default one, and client IDs that a policy document reads as a pattern, which devices of earlier programs may hold.
// CreateThing and Authorise, through which every change of a device passes, call it.
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

// Announce puts the device on the stream; from that place on its shard's scorer uses it. Running it again repeats a
// revision, which the scorer ignores.
func (p *Provisioner) Announce(ctx context.Context, d fanwatch.Device) error {
	data, err := fanwatch.EncodeDevice(d)
	if err != nil {
		return fmt.Errorf("announce %s: %w", d.Fan, err)
	}
	return p.Stream.Record(ctx, d.Fan, data)
}

// AnnounceLabel puts the label on the stream; from that place on its shard's scorer uses it. Running it again repeats
// the same record.
func (p *Provisioner) AnnounceLabel(ctx context.Context, l fanwatch.Label) error {
	data, err := fanwatch.EncodeLabel(l)
	if err != nil {
		return fmt.Errorf("announce a label of %s: %w", l.Fan, err)
	}
	return p.Stream.Record(ctx, l.Fan, data)
}

// policyName returns a policy's name, which holds a hash of its document: another document is another policy.
func policyName(what, document string) string {
	sum := sha256.Sum256([]byte(document))
	return fmt.Sprintf("fanwatch-%s-%x", what, sum[:4])
}

type statement struct {
	Effect   string
	Action   string
	Resource []string
}

// device returns the policy of a client that connects under its thing's name: to publish its own readings, and to use
// its own shadow but not to delete it (AWS IoT developer guide, "Thing policy variables").
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

// legacy returns the policy of clients that connect under another name than their thing's, where policy variables do
// not resolve.
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
	doc, _ := json.Marshal(struct { // never fails: strings alone
		Version   string
		Statement []statement
	}{"2012-10-17", statements})
	return string(doc)
}
