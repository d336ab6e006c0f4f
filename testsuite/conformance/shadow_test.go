package conformance_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane/types"

	local "fanwatch/local/aws/iotcore"
)

// nowhere takes the place of Kinesis, which no case here needs.
type nowhere struct{}

func (nowhere) Put(context.Context, string, string, []byte) error {
	return errors.New("no rule is made here")
}

func TestShadow(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		s, err := local.New(local.Config{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", Kinesis: nowhere{}})
		if err == nil {
			err = s.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		cfg := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
			BaseEndpoint: aws.String("http://" + s.RESTAddr())}
		shadowCases(t, cfg)
	})
	t.Run("aws", func(t *testing.T) {
		if os.Getenv("FANWATCH_CONFORMANCE_AWS") != "1" {
			t.Skip("skipped: FANWATCH_CONFORMANCE_AWS is not 1, so the real AWS is left alone")
		}
		cfg, err := config.LoadDefaultConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		endpoint, err := iot.NewFromConfig(cfg).DescribeEndpoint(t.Context(),
			&iot.DescribeEndpointInput{EndpointType: aws.String("iot:Data-ATS")})
		if err != nil {
			t.Fatal(err)
		}
		cfg.BaseEndpoint = aws.String("https://" + *endpoint.EndpointAddress)
		shadowCases(t, cfg)
	})
}

// shadowOf is the shadow "fanwatch" of a thing that no other case has.
type shadowOf struct {
	*testing.T
	c     *iotdataplane.Client
	thing string
}

func shadowCases(t *testing.T, cfg aws.Config) {
	for name, run := range map[string]func(shadowOf){"life": shadowLife, "refusals": shadowRefused} {
		t.Run(name, func(t *testing.T) {
			run(shadowOf{t, iotdataplane.NewFromConfig(cfg), "fanwatch-conformance-" + strings.ToLower(rand.Text()[:12])})
		})
	}
}

func (s shadowOf) update(payload string) (map[string]any, error) {
	out, err := s.c.UpdateThingShadow(s.Context(), &iotdataplane.UpdateThingShadowInput{ThingName: &s.thing,
		ShadowName: aws.String("fanwatch"), Payload: []byte(payload)})
	if err != nil {
		return nil, err
	}
	return s.object(out.Payload), nil
}

func (s shadowOf) get() (map[string]any, error) {
	out, err := s.c.GetThingShadow(s.Context(), &iotdataplane.GetThingShadowInput{ThingName: &s.thing,
		ShadowName: aws.String("fanwatch")})
	if err != nil {
		return nil, err
	}
	return s.object(out.Payload), nil
}

func (s shadowOf) object(b []byte) (m map[string]any) {
	s.Helper()
	if err := json.Unmarshal(b, &m); err != nil {
		s.Fatalf("%s: %v", b, err)
	}
	return m
}

// is holds a member of the document, named by its path, against JSON.
func (s shadowOf) is(doc map[string]any, path, want string) {
	s.Helper()
	var v, w any = doc, nil
	for _, key := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		s.Fatal(err)
	}
	if !reflect.DeepEqual(v, w) {
		got, _ := json.Marshal(v)
		s.Errorf("%s is %s, want %s", path, got, want)
	}
}

func shadowLife(s shadowOf) {
	var missing *types.ResourceNotFoundException
	if _, err := s.get(); !errors.As(err, &missing) {
		s.Errorf("before it was made: %v", err)
	}
	doc, err := s.update(`{"state":{"desired":{"interval":"2s","deep":{"a":1,"b":[1,2]}}},"clientToken":"token-1"}`)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_, _ = s.c.DeleteThingShadow(context.Background(), &iotdataplane.DeleteThingShadowInput{ThingName: &s.thing,
			ShadowName: aws.String("fanwatch")})
	})
	s.is(doc, "version", "1")
	s.is(doc, "clientToken", `"token-1"`)
	s.is(doc, "state", `{"desired":{"interval":"2s","deep":{"a":1,"b":[1,2]}}}`)
	if _, err := s.update(`{"state":{"reported":{"interval":"1s","deep":{"a":1}}},"version":1}`); err != nil {
		s.Fatal(err)
	}
	if doc, err = s.get(); err != nil {
		s.Fatal(err)
	}
	s.is(doc, "version", "2")
	s.is(doc, "state.delta", `{"interval":"2s","deep":{"b":[1,2]}}`)
	var conflict *types.ConflictException
	if _, err := s.update(`{"state":{"desired":{"interval":"9s"}},"version":1}`); !errors.As(err, &conflict) {
		s.Errorf("an old version: %v", err)
	}
	if _, err := s.update(`{"state":{"desired":{"interval":"1s","deep":{"b":null}}}}`); err != nil {
		s.Fatal(err)
	}
	if doc, err = s.get(); err != nil {
		s.Fatal(err)
	}
	s.is(doc, "state", `{"desired":{"interval":"1s","deep":{"a":1}},"reported":{"interval":"1s","deep":{"a":1}}}`)
	if m, _ := doc["metadata"].(map[string]any); m["desired"] == nil || m["reported"] == nil {
		s.Errorf("metadata %v", m)
	}
	list, err := s.c.ListNamedShadowsForThing(s.Context(),
		&iotdataplane.ListNamedShadowsForThingInput{ThingName: &s.thing})
	if err != nil || !reflect.DeepEqual(list.Results, []string{"fanwatch"}) {
		s.Errorf("list: %+v %v", list, err)
	}
	if _, err := s.c.DeleteThingShadow(s.Context(), &iotdataplane.DeleteThingShadowInput{ThingName: &s.thing,
		ShadowName: aws.String("fanwatch")}); err != nil {
		s.Fatal(err)
	}
	if doc, err = s.update(`{"state":{"desired":{"live":true}}}`); err != nil {
		s.Fatal(err)
	}
	if v, _ := doc["version"].(float64); v < 4 {
		s.Errorf("the version began anew at %v within two days of the deletion", v)
	}
}

func shadowRefused(s shadowOf) {
	var invalid *types.InvalidRequestException
	for _, payload := range []string{`{"state":`, `{}`, `{"state":7}`, `{"state":{"desired":[]}}`,
		`{"state":{"reported":"x"}}`,
		`{"state":{"desired":{}},"clientToken":"` + strings.Repeat("x", 65) + `"}`} {
		if _, err := s.update(payload); !errors.As(err, &invalid) {
			s.Errorf("%s: %v", payload, err)
		}
	}
	var large *types.RequestEntityTooLargeException
	if _, err := s.update(`{"state":{"desired":{"a":"` + strings.Repeat("x", 40<<10) + `"}}}`); !errors.As(err, &large) {
		s.Errorf("40 KB: %v", err)
	}
}
