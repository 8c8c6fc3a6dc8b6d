package filemode

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// gatewayAPIModule is the Go module whose folder holds the CRDs; its version is pinned in go.mod.
const gatewayAPIModule = "sigs.k8s.io/gateway-api"

// LoadCRDs reads the Gateway API CRDs of a channel ("standard" or "experimental") from the module.
func LoadCRDs(channel string) ([]apiextensionsv1.CustomResourceDefinition, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", gatewayAPIModule).Output()
	if err != nil {
		return nil, fmt.Errorf("find module %s: %w", gatewayAPIModule, err)
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", channel, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var crds []apiextensionsv1.CustomResourceDefinition
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return nil, fmt.Errorf("decode %s: %w", path, err)
		}
		// The folder also holds an admission policy and a kustomization.
		if crd.Kind == "CustomResourceDefinition" {
			crds = append(crds, crd)
		}
	}
	if len(crds) == 0 {
		return nil, fmt.Errorf("no CRDs in %s", filepath.Dir(filepath.Join(string(dir), channel)))
	}
	return crds, nil
}

// crdSchema does to an object what an API server does before it stores it: prune unknown fields, set
// defaults, validate.
type crdSchema struct {
	structural *structural.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

func newCRDSchema(props *apiextensionsv1.JSONSchemaProps) (*crdSchema, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(props, &internal, nil); err != nil {
		return nil, err
	}
	s, err := structural.NewStructural(&internal)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(&internal)
	if err != nil {
		return nil, err
	}
	return &crdSchema{
		structural: s,
		validator:  validator,
		rules:      cel.NewValidator(s, true, celconfig.PerCallLimit),
	}, nil
}

// complete prunes and defaults in place.
func (s *crdSchema) complete(object map[string]any) {
	pruning.Prune(object, s.structural, true)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	defaulting.Default(object, s.structural)
}

// validate returns what the API server would refuse; old is nil for a creation.
func (s *crdSchema) validate(object, old map[string]any) field.ErrorList {
	errs := validation.ValidateCustomResource(nil, object, s.validator)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	// Rules are only evaluated on objects of the right shape, as in the API server.
	if len(errs) > 0 || s.rules == nil {
		return errs
	}
	var oldObject any
	if old != nil {
		oldObject = old
	}
	ruleErrs, _ := s.rules.Validate(context.Background(), nil, s.structural, object, oldObject, celconfig.RuntimeCELCostBudget)
	return append(errs, ruleErrs...)
}
