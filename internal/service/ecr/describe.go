package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DescribeImages implements ecr.Handler.
func (s *Service) DescribeImages(ctx context.Context, in *ecr.DescribeImagesInput) (*ecr.DescribeImagesOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:DescribeImages", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name := repo.V.Name
	if in.ImageIds != nil {
		if in.MaxResults != nil || in.NextToken != nil {
			return nil, invalid("maxResults", "Pagination parameters cannot be used together with imageIds")
		}
		return s.describeThese(ctx, sp, name, in.ImageIds)
	}
	status, wantTagged := ecr.ImageStatusFilter(""), ecr.TagStatus("")
	if in.Filter != nil {
		status, wantTagged = in.Filter.ImageStatus, in.Filter.TagStatus
	}
	list := list(sp, "DescribeImages", name, string(status), string(wantTagged))
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeImagesOutput{ImageDetails: []ecr.ImageDetail{}}
	if !active(status) {
		return out, nil
	}
	tags, err := s.tagsByImage(ctx, sp, name)
	if err != nil {
		return nil, err
	}
	rows, err := tables.ECRImages.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, Prefix: name + "@", After: after})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	n := pageSize(in.MaxResults)
	last := ""
	for _, row := range rows {
		t := tags[row.V.Digest]
		if !tagStatus(wantTagged, len(t) > 0) {
			continue
		}
		if len(out.ImageDetails) == n {
			out.NextToken = nextToken(last, list)
			break
		}
		d, err := s.detail(ctx, sp, row, t)
		if err != nil {
			return nil, err
		}
		out.ImageDetails = append(out.ImageDetails, d)
		last = row.Key.ID
	}
	return out, nil
}

// describeThese describes the images that a request names, each once.
func (s *Service) describeThese(ctx context.Context, sp registry.Space, name string, ids []ecr.ImageIdentifier) (*ecr.DescribeImagesOutput, error) {
	out := &ecr.DescribeImagesOutput{ImageDetails: []ecr.ImageDetail{}}
	seen := map[reference.Digest]bool{}
	for _, id := range ids {
		img, failed, err := s.locate(ctx, sp, name, id)
		if err != nil {
			return nil, err
		}
		if failed != nil {
			if failed.FailureCode != ecr.ImageFailureCodeImageNotFound && failed.FailureCode != ecr.ImageFailureCodeImageTagDoesNotMatchDigest {
				return nil, invalid("imageIds", "%s", *failed.FailureReason)
			}
			return nil, imageNotFound(sp, name, id)
		}
		if seen[img.Digest] {
			continue
		}
		seen[img.Digest] = true
		row, err := tables.ECRImages.Get(ctx, s.Store, sp.Account, sp.Region, name+"@"+img.Digest.String())
		if errors.Is(err, store.ErrNotFound) {
			return nil, imageNotFound(sp, name, id)
		}
		if err != nil {
			return nil, fmt.Errorf("read image: %w", err)
		}
		tagRows, err := s.Catalog.TagsOf(ctx, sp, name, img.Digest)
		if err != nil {
			return nil, fmt.Errorf("list tags: %w", err)
		}
		var tags []string
		for _, t := range tagRows {
			tags = append(tags, t.V.Tag)
		}
		d, err := s.detail(ctx, sp, row, tags)
		if err != nil {
			return nil, err
		}
		out.ImageDetails = append(out.ImageDetails, d)
	}
	return out, nil
}

func imageNotFound(sp registry.Space, name string, id ecr.ImageIdentifier) error {
	return ecr.NewImageNotFoundException("The image with imageId %s does not exist within the repository with name '%s' in the registry with id '%s'",
		identifierText(id), name, sp.Account)
}

// detail is an image as DescribeImages shows it.
func (s *Service) detail(ctx context.Context, sp registry.Space, row store.Row[model.ECRImage], tags []string) (ecr.ImageDetail, error) {
	v := row.V
	d := ecr.ImageDetail{
		ImageDigest:            new(v.Digest),
		ImageManifestMediaType: new(v.MediaType),
		ImagePushedAt:          new(v.PushedAt),
		ImageSizeInBytes:       new(v.Size),
		ImageStatus:            ecr.ImageStatusActive,
		ImageTags:              tags,
		RegistryId:             new(sp.Account),
		RepositoryName:         new(v.Repository),
	}
	if v.ArtifactType != "" {
		d.ArtifactMediaType = new(v.ArtifactType)
	}
	if v.Subject != "" {
		d.SubjectManifestDigest = new(v.Subject)
	}
	d.ImageScanStatus = scanStatus(v)
	pull, err := tables.ECRImagePulls.Get(ctx, s.Store, sp.Account, sp.Region, row.Key.ID)
	switch {
	case err == nil:
		d.LastRecordedPullTime = new(pull.V.LastPulledAt)
	case !errors.Is(err, store.ErrNotFound):
		return d, fmt.Errorf("read pull time: %w", err)
	}
	return d, nil
}

// tagsByImage lists the tags of a repository by the digest that they name.
func (s *Service) tagsByImage(ctx context.Context, sp registry.Space, name string) (map[string][]string, error) {
	tags, err := s.Catalog.Tags(ctx, sp, name, "", 0)
	if err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	out := make(map[string][]string, len(tags))
	for _, t := range tags {
		out[t.Digest.String()] = append(out[t.Digest.String()], t.Name)
	}
	return out, nil
}

// active tells whether a filter takes active images, which all are.
func active(f ecr.ImageStatusFilter) bool {
	return f == "" || f == ecr.ImageStatusFilterActive || f == ecr.ImageStatusFilterAny
}

func tagStatus(want ecr.TagStatus, tagged bool) bool {
	switch want {
	case ecr.TagStatusTagged:
		return tagged
	case ecr.TagStatusUntagged:
		return !tagged
	case ecr.TagStatusAny:
	}
	return true
}

// ListImages implements ecr.Handler. An image stands there once for each tag.
func (s *Service) ListImages(ctx context.Context, in *ecr.ListImagesInput) (*ecr.ListImagesOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:ListImages", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name := repo.V.Name
	status, wantTagged := ecr.ImageStatusFilter(""), ecr.TagStatus("")
	if in.Filter != nil {
		status, wantTagged = in.Filter.ImageStatus, in.Filter.TagStatus
	}
	list := list(sp, "ListImages", name, string(status), string(wantTagged))
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListImagesOutput{ImageIds: []ecr.ImageIdentifier{}}
	if !active(status) {
		return out, nil
	}
	tags, err := s.tagsByImage(ctx, sp, name)
	if err != nil {
		return nil, err
	}
	rows, err := tables.ECRImages.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, Prefix: name + "@"})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	// An entry's place is its digest and tag, which no digest or tag divides
	// otherwise: neither holds a slash.
	var places []string
	for _, row := range rows {
		t := tags[row.V.Digest]
		if !tagStatus(wantTagged, len(t) > 0) {
			continue
		}
		if len(t) == 0 {
			places = append(places, row.V.Digest+"/")
		}
		for _, tag := range t {
			places = append(places, row.V.Digest+"/"+tag)
		}
	}
	slices.Sort(places)
	i, found := slices.BinarySearch(places, after)
	if found {
		i++
	}
	places = places[i:]
	if n := pageSize(in.MaxResults); len(places) > n {
		places = places[:n]
		out.NextToken = nextToken(places[n-1], list)
	}
	for _, p := range places {
		digest, tag, _ := strings.Cut(p, "/")
		id := ecr.ImageIdentifier{ImageDigest: new(digest)}
		if tag != "" {
			id.ImageTag = new(tag)
		}
		out.ImageIds = append(out.ImageIds, id)
	}
	return out, nil
}

// ListImageReferrers implements ecr.Handler.
func (s *Service) ListImageReferrers(ctx context.Context, in *ecr.ListImageReferrersInput) (*ecr.ListImageReferrersOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:ListImageReferrers", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	d, err := reference.ParseDigest(*in.SubjectId.ImageDigest)
	if err != nil {
		return nil, invalid("subjectId", "Invalid image digest %s", *in.SubjectId.ImageDigest)
	}
	var types []string
	if in.Filter != nil {
		types = in.Filter.ArtifactTypes
	}
	list := list(sp, "ListImageReferrers", append([]string{repo.V.Name, d.String()}, types...)...)
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	if in.Filter != nil {
		if f := in.Filter.ArtifactStatus; f != "" && f != ecr.ArtifactStatusFilterActive && f != ecr.ArtifactStatusFilterAny {
			return &ecr.ListImageReferrersOutput{Referrers: []ecr.ImageReferrer{}}, nil
		}
	}
	referrers, err := s.Catalog.Referrers(ctx, sp, repo.V.Name, d, "")
	if err != nil {
		return nil, fmt.Errorf("list referrers: %w", err)
	}
	n := 50
	if in.MaxResults != nil {
		n = int(*in.MaxResults)
	}
	out := &ecr.ListImageReferrersOutput{Referrers: []ecr.ImageReferrer{}}
	for _, r := range referrers { // ordered by digest
		if r.Digest <= after || len(types) > 0 && !slices.Contains(types, r.ArtifactType) {
			continue
		}
		if len(out.Referrers) == n {
			out.NextToken = nextToken(*out.Referrers[n-1].Digest, list)
			break
		}
		ref := ecr.ImageReferrer{
			Annotations: r.Annotations, ArtifactStatus: ecr.ArtifactStatusActive,
			Digest: new(r.Digest), MediaType: new(r.MediaType), Size: new(r.Size),
		}
		if r.ArtifactType != "" {
			ref.ArtifactType = new(r.ArtifactType)
		}
		out.Referrers = append(out.Referrers, ref)
	}
	return out, nil
}
