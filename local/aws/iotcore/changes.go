package iotcore

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// attributesMaximum is AWS IoT's limit for a thing without a thing type.
const attributesMaximum = 3

// policiesMaximum is how many policies AWS IoT attaches to one certificate.
const policiesMaximum = 10

// createThing adds a thing; the same again (name and attributes) is no error, as on AWS.
func (r *registry) createThing(name string, attributes map[string]string, newID func() string) (*thing, error) {
	if err := checkName("thing name", `^[a-zA-Z0-9:_-]{1,128}$`, name); err != nil {
		return nil, err
	}
	if err := checkAttributes(attributes); err != nil {
		return nil, err
	}
	r.change.Lock()
	defer r.change.Unlock()
	if old, err := r.thing(name); err == nil {
		if maps.Equal(old.Attributes, attributes) {
			return old, nil
		}
		return nil, alreadyExists("Thing", name, r.arn("thing/"+name))
	}
	t := &thing{Name: name, ID: newID(), Attributes: orEmpty(attributes), Version: 1}
	return t, put(r, kindThing, name, t, r.things)
}

// updateThing replaces the attributes, or with merge adds to them (an empty value removes one).
// expected is the version that the caller has seen; 0 = any.
func (r *registry) updateThing(name string, attributes map[string]string, merge bool, expected int64) error {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.thing(name)
	if err != nil {
		return err
	}
	if err := checkVersion(old, expected); err != nil {
		return err
	}
	next := map[string]string{}
	if merge {
		maps.Copy(next, old.Attributes)
	}
	for k, v := range attributes {
		if next[k] = v; v == "" {
			delete(next, k)
		}
	}
	if err := checkAttributes(next); err != nil {
		return err
	}
	t := *old
	t.Attributes, t.Version = next, old.Version+1
	return put(r, kindThing, name, &t, r.things)
}

// deleteThing removes a thing that no certificate is attached to; one that is not there is no error.
func (r *registry) deleteThing(name string, expected int64) error {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.thing(name)
	if err != nil {
		return nil // as on AWS
	}
	if err := checkVersion(old, expected); err != nil {
		return err
	}
	if ids := r.attachedCertificates(name); len(ids) > 0 {
		return invalid("Cannot delete. Thing %s is still attached to one or more principals", name)
	}
	return remove(r, kindThing, name, r.things)
}

func checkVersion(t *thing, expected int64) error {
	if expected != 0 && expected != t.Version {
		return &apiError{Status: http.StatusConflict, Code: "VersionConflictException",
			Message: fmt.Sprintf("Thing %s is at version %d, not %d", t.Name, t.Version, expected)}
	}
	return nil
}

func (r *registry) addCertificate(i issued, active bool) (*certificate, error) {
	r.change.Lock()
	defer r.change.Unlock()
	now := r.now().UTC()
	c := &certificate{ID: i.ID, PEM: i.PEM, Status: statusInactive, Created: now, Modified: now, NotBefore: i.NotBefore,
		NotAfter: i.NotAfter}
	if active {
		c.Status = statusActive
	}
	return c, put(r, kindCertificate, c.ID, c, r.certificates)
}

// setStatus makes a certificate ACTIVE, INACTIVE or REVOKED.
func (r *registry) setStatus(id, status string) error {
	if status != statusActive && status != statusInactive && status != statusRevoked {
		return invalid("newStatus is %q, use ACTIVE, INACTIVE or REVOKED", status)
	}
	return r.changeCertificate(id, func(c *certificate) error {
		c.Status, c.Modified = status, r.now().UTC()
		return nil
	})
}

// deleteCertificate removes a certificate that is not ACTIVE and attached to nothing; force drops attached
// policies.
func (r *registry) deleteCertificate(id string, force bool) error {
	r.change.Lock()
	defer r.change.Unlock()
	c, err := r.certificate(id)
	if err != nil {
		return err
	}
	if c.Status == statusActive {
		return &apiError{Status: http.StatusNotAcceptable, Code: "CertificateStateException",
			Message: fmt.Sprintf("Certificate %s is ACTIVE: set it INACTIVE before deleting it", id)}
	}
	if len(c.Things) > 0 {
		return deleteConflict("Things must be detached before deletion (arn: %s)", r.certificateARN(id))
	}
	if len(c.Policies) > 0 && !force {
		return deleteConflict("Certificate policies must be detached before deletion (arn: %s)", r.certificateARN(id))
	}
	return remove(r, kindCertificate, id, r.certificates)
}

func (r *registry) createPolicy(name, document string) (*policy, error) {
	if err := checkName("policy name", `^[\w+=,.@-]{1,128}$`, name); err != nil {
		return nil, err
	}
	parsed, err := parsePolicy(document)
	if err != nil {
		return nil, &apiError{Status: http.StatusBadRequest, Code: "MalformedPolicyException", Message: err.Error()}
	}
	r.change.Lock()
	defer r.change.Unlock()
	if _, err := r.policy(name); err == nil {
		return nil, alreadyExists("Policy", name, r.arn("policy/"+name))
	}
	p := &policy{Name: name, Document: document, Created: r.now().UTC(), parsed: parsed}
	return p, put(r, kindPolicy, name, p, r.policies)
}

// deletePolicy removes a policy that is attached to nothing.
func (r *registry) deletePolicy(name string) error {
	r.change.Lock()
	defer r.change.Unlock()
	if _, err := r.policy(name); err != nil {
		return err
	}
	for id, c := range r.certificates {
		if slices.Contains(c.Policies, name) {
			return deleteConflict("Policy %s is attached to certificate %.12s: detach it before deleting it", name, id)
		}
	}
	return remove(r, kindPolicy, name, r.policies)
}

// attachPolicy attaches the policy to the certificate of the ARN; again is no error.
func (r *registry) attachPolicy(name, certificateARN string) error {
	return r.changeAttachments(certificateARN, func(c *certificate) error {
		if _, err := r.policy(name); err != nil {
			return err
		}
		if !slices.Contains(c.Policies, name) && len(c.Policies) >= policiesMaximum {
			return &apiError{Status: http.StatusGone, Code: "LimitExceededException", Message: fmt.Sprintf(
				"Certificate %.12s has %d policies already, the most there may be", c.ID, policiesMaximum)}
		}
		c.Policies = with(c.Policies, name)
		return nil
	})
}

// detachPolicy detaches it; again is no error.
func (r *registry) detachPolicy(name, certificateARN string) error {
	return r.changeAttachments(certificateARN, func(c *certificate) error {
		if _, err := r.policy(name); err != nil {
			return err
		}
		c.Policies = without(c.Policies, name)
		return nil
	})
}

// attachThing attaches the thing to the certificate of the ARN; again is no error.
func (r *registry) attachThing(name, certificateARN string) error {
	return r.changeAttachments(certificateARN, func(c *certificate) error {
		if _, err := r.thing(name); err != nil {
			return err
		}
		c.Things = with(c.Things, name)
		return nil
	})
}

// detachThing detaches it; again is no error.
func (r *registry) detachThing(name, certificateARN string) error {
	return r.changeAttachments(certificateARN, func(c *certificate) error {
		if _, err := r.thing(name); err != nil {
			return err
		}
		c.Things = without(c.Things, name)
		return nil
	})
}

// changeAttachments is changeCertificate for the certificate of an ARN.
func (r *registry) changeAttachments(certificateARN string, change func(*certificate) error) error {
	id, err := r.certificateOf(certificateARN)
	if err != nil {
		return err
	}
	return r.changeCertificate(id, change)
}

// putRule creates the rule, or with replace changes the one that is there.
func (r *registry) putRule(u *rule, replace bool) error {
	if err := checkName("rule name", `^[a-zA-Z0-9_]{1,128}$`, u.Name); err != nil {
		return err
	}
	if err := u.compile(); err != nil {
		return err
	}
	r.change.Lock()
	defer r.change.Unlock()
	old, found := r.rule(u.Name)
	switch {
	case found && !replace:
		return alreadyExists("Rule", u.Name, r.arn("rule/"+u.Name))
	case !found && replace:
		return noSuchRule(u.Name)
	case found:
		u.Created = old.Created
	default:
		u.Created = r.now().UTC()
	}
	return put(r, kindRule, u.Name, u, r.rules)
}

func (r *registry) deleteRule(name string) error {
	r.change.Lock()
	defer r.change.Unlock()
	if _, found := r.rule(name); !found {
		return noSuchRule(name)
	}
	return remove(r, kindRule, name, r.rules)
}

// noSuchRule is what AWS IoT answers for a rule that is not there: the API has no "not found" for rules.
func noSuchRule(name string) error {
	return &apiError{Status: http.StatusUnauthorized, Code: "UnauthorizedException",
		Message: fmt.Sprintf("Access to topic rule '%s' was denied", name)}
}

func (r *registry) changeCertificate(id string, change func(*certificate) error) error {
	r.change.Lock()
	defer r.change.Unlock()
	old, err := r.certificate(id)
	if err != nil {
		return err
	}
	c := *old
	if err := change(&c); err != nil {
		return err
	}
	return put(r, kindCertificate, id, &c, r.certificates)
}

// certificateOf takes the certificate ID out of its ARN.
func (r *registry) certificateOf(arn string) (string, error) {
	id, ok := strings.CutPrefix(arn, r.arn("cert/"))
	if !ok {
		return "", invalid("%q is not the ARN of a certificate here (%s...)", arn, r.arn("cert/"))
	}
	return id, nil
}

func put[T any](r *registry, kind, name string, v *T, into map[string]*T) error {
	if err := r.store.put(kind, name, v); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	into[name] = v
	return nil
}

func remove[T any](r *registry, kind, name string, from map[string]*T) error {
	if err := r.store.remove(kind, name); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(from, name)
	return nil
}

// loadInto reads every record of the kind; ready completes one that needs parsing.
func loadInto[T any](s store, kind string, into map[string]*T, ready func(*T) error) error {
	return s.load(kind, func(name string, data []byte) error {
		v := new(T)
		if err := json.Unmarshal(data, v); err != nil {
			return err
		}
		if ready != nil {
			if err := ready(v); err != nil {
				return err
			}
		}
		into[name] = v
		return nil
	})
}

func checkName(what, allowed, name string) error {
	if !regexp.MustCompile(allowed).MatchString(name) {
		return invalid("%s %q does not match %s", what, name, strings.Trim(allowed, "^$"))
	}
	return nil
}

// checkAttributes holds things to what AWS IoT takes.
// https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html
func checkAttributes(attributes map[string]string) error {
	if len(attributes) > attributesMaximum {
		return invalid("a thing without a thing type has at most %d attributes, not %d", attributesMaximum, len(attributes))
	}
	for k, v := range attributes {
		if err := checkName("attribute name", `^[a-zA-Z0-9_.,@/:#-]{1,128}$`, k); err != nil {
			return err
		}
		if err := checkName("value of attribute "+k, `^[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}$`, v); err != nil {
			return err
		}
	}
	return nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// with and without make new sorted lists: records in the map are never changed.
func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	out := append(slices.Clone(list), s)
	slices.Sort(out)
	return out
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == s })
}
