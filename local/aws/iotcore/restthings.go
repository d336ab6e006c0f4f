package iotcore

import (
	"maps"
	"net/http"
	"slices"
)

// attributesBody is what CreateThing and UpdateThing carry.
type attributesBody struct {
	Payload struct {
		Attributes map[string]string `json:"attributes"`
		Merge      bool              `json:"merge"`
	} `json:"attributePayload"`
	ExpectedVersion int64 `json:"expectedVersion"`
}

func (s *Server) createThing(r *http.Request) (any, error) {
	var in attributesBody
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	t, err := s.registry.createThing(r.PathValue("name"), in.Payload.Attributes, s.newUUID)
	if err != nil {
		return nil, err
	}
	return map[string]string{"thingName": t.Name, "thingId": t.ID, "thingArn": s.registry.arn("thing/" + t.Name)}, nil
}

func (s *Server) describeThing(r *http.Request) (any, error) {
	t, err := s.registry.thing(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"thingName": t.Name, "thingId": t.ID, "thingArn": s.registry.arn("thing/" + t.Name),
		"defaultClientId": t.Name, "attributes": t.Attributes, "version": t.Version,
	}, nil
}

func (s *Server) updateThing(r *http.Request) (any, error) {
	var in attributesBody
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return none{}, s.registry.updateThing(r.PathValue("name"), in.Payload.Attributes, in.Payload.Merge, in.ExpectedVersion)
}

func (s *Server) deleteThing(r *http.Request) (any, error) {
	expected, err := number(r, "expectedVersion")
	if err != nil {
		return nil, err
	}
	return none{}, s.registry.deleteThing(r.PathValue("name"), expected)
}

// listThings takes attributeName with attributeValue as filter, and pages.
func (s *Server) listThings(r *http.Request) (any, error) {
	q := r.URL.Query()
	if q.Get("thingTypeName") != "" || flag(r, "usePrefixAttributeValue") {
		return nil, invalid("thingTypeName and usePrefixAttributeValue are not supported by the local IoT Core")
	}
	things := s.registry.allThings()
	if name := q.Get("attributeName"); name != "" {
		maps.DeleteFunc(things, func(_ string, t *thing) bool { return t.Attributes[name] != q.Get("attributeValue") })
	}
	names, next, err := page(r, slices.Sorted(maps.Keys(things)), "maxResults", "nextToken")
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for _, name := range names {
		t := things[name]
		list = append(list, map[string]any{
			"thingName": t.Name, "thingArn": s.registry.arn("thing/" + t.Name), "attributes": t.Attributes, "version": t.Version,
		})
	}
	return withToken(map[string]any{"things": list}, "nextToken", next), nil
}

func (r *registry) allThings() map[string]*thing {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.things)
}

func withToken(answer map[string]any, name, token string) map[string]any {
	if token != "" {
		answer[name] = token
	}
	return answer
}

func (s *Server) attachThingPrincipal(r *http.Request) (any, error) {
	if t := r.URL.Query().Get("thingPrincipalType"); t != "" && t != "NON_EXCLUSIVE_THING" {
		return nil, invalid("thingPrincipalType %s is not supported by the local IoT Core", clip(t))
	}
	return none{}, s.registry.attachThing(r.PathValue("name"), r.Header.Get("X-Amzn-Principal"))
}

func (s *Server) detachThingPrincipal(r *http.Request) (any, error) {
	return none{}, s.registry.detachThing(r.PathValue("name"), r.Header.Get("X-Amzn-Principal"))
}

func (s *Server) listThingPrincipals(r *http.Request) (any, error) {
	name := r.PathValue("name")
	if _, err := s.registry.thing(name); err != nil {
		return nil, err
	}
	ids, next, err := page(r, s.registry.attachedCertificates(name), "maxResults", "nextToken")
	if err != nil {
		return nil, err
	}
	arns := []string{}
	for _, id := range ids {
		arns = append(arns, s.registry.certificateARN(id))
	}
	return withToken(map[string]any{"principals": arns}, "nextToken", next), nil
}

func (s *Server) createCertificateFromCSR(r *http.Request) (any, error) {
	var in struct {
		CSR string `json:"certificateSigningRequest"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	i, err := s.authority.issue(in.CSR)
	if err != nil {
		return nil, invalid("%v", err)
	}
	c, err := s.registry.addCertificate(i, flag(r, "setAsActive"))
	if err != nil {
		return nil, err
	}
	return map[string]string{"certificateArn": s.registry.certificateARN(c.ID), "certificateId": c.ID,
		"certificatePem": c.PEM}, nil
}

func (s *Server) describeCertificate(r *http.Request) (any, error) {
	c, err := s.registry.certificate(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return map[string]any{"certificateDescription": map[string]any{
		"certificateArn": s.registry.certificateARN(c.ID), "certificateId": c.ID, "certificatePem": c.PEM,
		"status": c.Status, "certificateMode": "DEFAULT", "ownedBy": s.registry.account,
		"creationDate": epoch(c.Created), "lastModifiedDate": epoch(c.Modified),
		"validity": map[string]any{"notBefore": epoch(c.NotBefore), "notAfter": epoch(c.NotAfter)},
	}}, nil
}

// updateCertificate also closes the connections of a certificate that stops being ACTIVE.
func (s *Server) updateCertificate(r *http.Request) (any, error) {
	id, status := r.PathValue("id"), r.URL.Query().Get("newStatus")
	if err := s.registry.setStatus(id, status); err != nil {
		return nil, err
	}
	if status != statusActive {
		s.broker.evict(id, status)
	}
	return none{}, nil
}

func (s *Server) deleteCertificate(r *http.Request) (any, error) {
	return none{}, s.registry.deleteCertificate(r.PathValue("id"), flag(r, "forceDelete"))
}

func (s *Server) createPolicy(r *http.Request) (any, error) {
	var in struct {
		Document string `json:"policyDocument"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	p, err := s.registry.createPolicy(r.PathValue("name"), in.Document)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"policyName": p.Name, "policyArn": s.registry.arn("policy/" + p.Name), "policyDocument": p.Document,
		"policyVersionId": "1",
	}, nil
}

func (s *Server) getPolicy(r *http.Request) (any, error) {
	p, err := s.registry.policy(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"policyName": p.Name, "policyArn": s.registry.arn("policy/" + p.Name), "policyDocument": p.Document,
		"defaultVersionId": "1",
		"creationDate":     epoch(p.Created), "lastModifiedDate": epoch(p.Created),
	}, nil
}

func (s *Server) deletePolicy(r *http.Request) (any, error) {
	return none{}, s.registry.deletePolicy(r.PathValue("name"))
}

// targetBody is what AttachPolicy and DetachPolicy carry.
type targetBody struct {
	Target string `json:"target"`
}

func (s *Server) attachPolicy(r *http.Request) (any, error) {
	var in targetBody
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return none{}, s.registry.attachPolicy(r.PathValue("name"), in.Target)
}

func (s *Server) detachPolicy(r *http.Request) (any, error) {
	var in targetBody
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return none{}, s.registry.detachPolicy(r.PathValue("name"), in.Target)
}

func (s *Server) listAttachedPolicies(r *http.Request) (any, error) {
	id, err := s.registry.certificateOf(r.PathValue("target"))
	if err != nil {
		return nil, err
	}
	c, err := s.registry.certificate(id)
	if err != nil {
		return nil, err
	}
	names, next, err := page(r, c.Policies, "pageSize", "marker")
	if err != nil {
		return nil, err
	}
	list := []map[string]string{}
	for _, name := range names {
		list = append(list, map[string]string{"policyName": name, "policyArn": s.registry.arn("policy/" + name)})
	}
	return withToken(map[string]any{"policies": list}, "nextMarker", next), nil
}
