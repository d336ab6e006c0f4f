package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/smithy-go"
)

// mqttPort is the port of AWS IoT's device endpoint for MQTT over mutual TLS.
const mqttPort = "8883"

// IoT is a client of the control plane of AWS IoT Core: things, certificates, policies and topic rules. Every
// method but CertificateFromCSR may be repeated. Safe for concurrent use.
// https://docs.aws.amazon.com/iot/latest/apireference/
type IoT struct {
	client *iot.Client
}

// NewIoT returns a client of cfg's region, or of the server at endpoint ("http://127.0.0.1:1234") when that is not
// empty.
func NewIoT(cfg aws.Config, endpoint string) *IoT {
	return &IoT{client: iot.NewFromConfig(cfg, func(o *iot.Options) {
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
	})}
}

// Certificate is a device certificate. ID is the SHA-256 of its DER form, hexadecimal.
type Certificate struct {
	ID, ARN, PEM string
}

// CreateThing makes the thing, or sets the attributes of an existing one: at most three, with values without white
// space, which are AWS's limits for a thing without a type.
func (c *IoT) CreateThing(ctx context.Context, name string, attributes map[string]string) error {
	payload := &types.AttributePayload{Attributes: attributes}
	_, err := c.client.CreateThing(ctx, &iot.CreateThingInput{ThingName: &name, AttributePayload: payload})
	if iotErrorCode(err) != "ResourceAlreadyExistsException" {
		return wrapIoT("create thing "+name, err)
	}
	now, err := c.client.DescribeThing(ctx, &iot.DescribeThingInput{ThingName: &name})
	if err != nil {
		return wrapIoT("describe thing "+name, err)
	}
	if maps.Equal(now.Attributes, attributes) {
		return nil
	}
	_, err = c.client.UpdateThing(ctx, &iot.UpdateThingInput{ThingName: &name, AttributePayload: payload})
	return wrapIoT("update thing "+name, err)
}

// CertificateFromCSR has an ACTIVE certificate issued for a PEM certificate signing request, and attaches nothing
// to it. Every call issues one more; without policy it allows nothing. thing is for the error alone.
func (c *IoT) CertificateFromCSR(ctx context.Context, thing string, csrPEM []byte) (Certificate, error) {
	out, err := c.client.CreateCertificateFromCsr(ctx, &iot.CreateCertificateFromCsrInput{
		CertificateSigningRequest: aws.String(string(csrPEM)), SetAsActive: true,
	})
	if err != nil {
		return Certificate{}, wrapIoT("issue a certificate for "+thing, err)
	}
	return Certificate{ID: aws.ToString(out.CertificateId), ARN: aws.ToString(out.CertificateArn),
		PEM: aws.ToString(out.CertificatePem)}, nil
}

// PutPolicy makes the policy. The error names the first difference when there is one of that name with another
// document.
func (c *IoT) PutPolicy(ctx context.Context, name, document string) error {
	_, err := c.client.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: &name, PolicyDocument: &document})
	if iotErrorCode(err) != "ResourceAlreadyExistsException" {
		return wrapIoT("create policy "+name, err)
	}
	now, err := c.client.GetPolicy(ctx, &iot.GetPolicyInput{PolicyName: &name})
	if err != nil {
		return wrapIoT("get policy "+name, err)
	}
	var have, want any
	if err := json.Unmarshal([]byte(aws.ToString(now.PolicyDocument)), &have); err != nil {
		return wrapIoT("read policy "+name, err)
	}
	if err := json.Unmarshal([]byte(document), &want); err != nil {
		return wrapIoT("read the document for policy "+name, err)
	}
	if d := difference("", have, want); d != "" {
		return fmt.Errorf("iot: policy %s exists with other content: %s; give the new one another name or delete the old one",
			name, d)
	}
	return nil
}

// AttachPolicy attaches the policy to the certificate.
func (c *IoT) AttachPolicy(ctx context.Context, policy, certificateARN string) error {
	_, err := c.client.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: &policy, Target: &certificateARN})
	return wrapIoT("attach policy "+policy, err)
}

// Policies returns the names of the policies attached to the certificate, sorted.
func (c *IoT) Policies(ctx context.Context, certificateARN string) ([]string, error) {
	var names []string
	pages := iot.NewListAttachedPoliciesPaginator(c.client, &iot.ListAttachedPoliciesInput{Target: &certificateARN})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrapIoT("list the policies of certificate "+certificateIDOf(certificateARN), err)
		}
		for _, policy := range p.Policies {
			names = append(names, aws.ToString(policy.PolicyName))
		}
	}
	slices.Sort(names)
	return names, nil
}

// DetachPolicy detaches the policy from the certificate. A policy that is not attached, or does not exist, is no error.
func (c *IoT) DetachPolicy(ctx context.Context, policy, certificateARN string) error {
	_, err := c.client.DetachPolicy(ctx, &iot.DetachPolicyInput{PolicyName: &policy, Target: &certificateARN})
	return wrapIoT("detach policy "+policy, ignoreMissing(err))
}

// AttachCertificate attaches the certificate to the thing.
func (c *IoT) AttachCertificate(ctx context.Context, thing, certificateARN string) error {
	_, err := c.client.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &thing,
		Principal: &certificateARN})
	return wrapIoT("attach a certificate to thing "+thing, err)
}

// Certificates returns the ARNs of the certificates attached to the thing, sorted; none when the thing does not exist.
func (c *IoT) Certificates(ctx context.Context, thing string) ([]string, error) {
	var out []string
	pages := iot.NewListThingPrincipalsPaginator(c.client, &iot.ListThingPrincipalsInput{ThingName: &thing})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if iotErrorCode(err) == "ResourceNotFoundException" {
			return nil, nil
		}
		if err != nil {
			return nil, wrapIoT("list the certificates of thing "+thing, err)
		}
		for _, arn := range p.Principals {
			if strings.Contains(arn, ":cert/") {
				out = append(out, arn)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// Deactivate makes the certificate INACTIVE, so that no device connects by it.
func (c *IoT) Deactivate(ctx context.Context, certificateID string) error {
	_, err := c.client.UpdateCertificate(ctx, &iot.UpdateCertificateInput{CertificateId: &certificateID,
		NewStatus: types.CertificateStatusInactive})
	return wrapIoT("deactivate certificate "+certificateID, err)
}

// Rule is a topic rule with a Kinesis action and, with ErrorStream, a Kinesis error action.
type Rule struct {
	Name              string // letters, digits and _
	SQL               string // in version 2016-03-23
	Stream            string
	PartitionKey      string // substitution template, such as "${FANID}"
	RoleARN           string
	ErrorStream       string // "" = no error action
	ErrorPartitionKey string // "" = "${newuuid()}", which every message has
}

// PutRule makes the rule, or replaces the one of that name.
func (c *IoT) PutRule(ctx context.Context, r Rule) error {
	payload := &types.TopicRulePayload{
		Sql:              aws.String(r.SQL),
		AwsIotSqlVersion: aws.String("2016-03-23"),
		Actions:          []types.Action{kinesisAction(r.Stream, r.PartitionKey, r.RoleARN)},
	}
	if r.ErrorStream != "" {
		key := r.ErrorPartitionKey
		if key == "" {
			key = "${newuuid()}"
		}
		action := kinesisAction(r.ErrorStream, key, r.RoleARN)
		payload.ErrorAction = &action
	}
	_, err := c.client.CreateTopicRule(ctx, &iot.CreateTopicRuleInput{RuleName: &r.Name, TopicRulePayload: payload})
	if iotErrorCode(err) != "ResourceAlreadyExistsException" {
		return wrapIoT("create rule "+r.Name, err)
	}
	_, err = c.client.ReplaceTopicRule(ctx, &iot.ReplaceTopicRuleInput{RuleName: &r.Name, TopicRulePayload: payload})
	return wrapIoT("replace rule "+r.Name, err)
}

func kinesisAction(stream, key, role string) types.Action {
	return types.Action{Kinesis: &types.KinesisAction{StreamName: &stream, PartitionKey: &key, RoleArn: &role}}
}

// Endpoint returns host:port of the MQTT endpoint for devices.
func (c *IoT) Endpoint(ctx context.Context) (string, error) {
	out, err := c.client.DescribeEndpoint(ctx, &iot.DescribeEndpointInput{EndpointType: aws.String("iot:Data-ATS")})
	if err != nil {
		return "", wrapIoT("describe endpoint", err)
	}
	address := aws.ToString(out.EndpointAddress)
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, mqttPort) // AWS returns the host alone
	}
	return address, nil
}

func certificateIDOf(arn string) string {
	_, id, _ := strings.Cut(arn, ":cert/")
	return id
}

// iotErrorCode returns the error code of the service, or "".
func iotErrorCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func ignoreMissing(err error) error {
	if iotErrorCode(err) == "ResourceNotFoundException" {
		return nil
	}
	return err
}

func wrapIoT(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("iot: %s: %w", what, err)
}

// difference returns the first place where two JSON values differ, or "".
func difference(at string, have, want any) string {
	if reflect.DeepEqual(have, want) {
		return ""
	}
	if h, ok := have.(map[string]any); ok {
		if w, ok := want.(map[string]any); ok {
			keys := slices.Sorted(maps.Keys(w))
			for k := range h {
				if _, found := w[k]; !found {
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			for _, k := range keys {
				if d := difference(at+"/"+k, h[k], w[k]); d != "" {
					return d
				}
			}
		}
	}
	if h, ok := have.([]any); ok {
		if w, ok := want.([]any); ok && len(h) == len(w) {
			for i := range h {
				if d := difference(fmt.Sprintf("%s/%d", at, i), h[i], w[i]); d != "" {
					return d
				}
			}
		}
	}
	h, _ := json.Marshal(have) // never fails: both came from JSON
	w, _ := json.Marshal(want)
	return fmt.Sprintf("at %s it has %s where %s is wanted", at, h, w)
}
