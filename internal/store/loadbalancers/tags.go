package loadbalancers

import "roadstead.dev/internal/model"

// TagAction is the permission to tag, which whoever makes something with tags
// needs besides.
const TagAction = "elasticloadbalancing:AddTags"

// TagConditions are the condition keys under which an operation that makes
// something with tags asks for TagAction.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/tagging-resources-during-creation.html
func TagConditions(operation string, tags model.Tags) map[string]string {
	keys := map[string]string{"elasticloadbalancing:CreateAction": operation}
	for k, v := range tags {
		keys["aws:RequestTag/"+k] = v
	}
	return keys
}
