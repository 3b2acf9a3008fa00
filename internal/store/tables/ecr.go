package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// The tables of ECR. Ids are as model says. The indexes:
//   - "digest" of images and layers is the digest of the blob that they need,
//     whichever repository they are in;
//   - "digest" of tags is "<repository>@<digest>", the image's id;
//   - "blob", "child" and "subject" of images are "<repository>@<digest>" of
//     what they refer to.
var (
	ECRRepositories = store.NewTable[model.ECRRepository]("ecr", "Repository")

	ECRImages = store.NewTable[model.ECRImage]("ecr", "Image").
			WithIndex("digest", func(i *model.ECRImage) []string { return []string{i.Digest} }).
			WithIndex("blob", func(i *model.ECRImage) []string { return inRepository(i.Repository, i.Blobs...) }).
			WithIndex("child", func(i *model.ECRImage) []string { return inRepository(i.Repository, i.Children...) }).
			WithIndex("subject", func(i *model.ECRImage) []string {
			if i.Subject == "" {
				return nil
			}
			return inRepository(i.Repository, i.Subject)
		})

	ECRImagePulls = store.NewTable[model.ECRImagePull]("ecr", "ImagePull")

	ECRTags = store.NewTable[model.ECRTag]("ecr", "Tag").
		WithIndex("digest", func(t *model.ECRTag) []string { return inRepository(t.Repository, t.Digest) })

	ECRRegistries        = store.NewTable[model.ECRRegistry]("ecr", "Registry")
	ECRPullThroughRules  = store.NewTable[model.ECRPullThroughRule]("ecr", "PullThroughRule")
	ECRUpstreamChecks    = store.NewTable[model.ECRUpstreamCheck]("ecr", "UpstreamCheck")
	ECRCreationTemplates = store.NewTable[model.ECRCreationTemplate]("ecr", "CreationTemplate")
	ECRLifecyclePreviews = store.NewTable[model.ECRLifecyclePreview]("ecr", "LifecyclePreview")
	ECRReplications      = store.NewTable[model.ECRReplication]("ecr", "Replication")

	ECRLayers = store.NewTable[model.ECRLayer]("ecr", "Layer").
			WithIndex("digest", func(l *model.ECRLayer) []string { return []string{l.Digest} })
)

func inRepository(name string, digests ...string) []string {
	out := make([]string, len(digests))
	for i, d := range digests {
		out[i] = name + "@" + d
	}
	return out
}
