provider "aws" {}

data "aws_caller_identity" "current" {}

resource "aws_ecr_repository" "app" {
  name                 = "tf/app"
  image_tag_mutability = var.revision > 1 ? "MUTABLE" : "IMMUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = var.revision > 1
  }

  encryption_configuration {
    encryption_type = "AES256"
  }

  tags = {
    Revision = var.revision
  }
}

resource "aws_ecr_repository" "plain" {
  name = "tf-plain"
}

resource "aws_ecr_repository" "documented" {
  name = "tf-documented"
}

resource "aws_ecr_repository_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "pull"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:root" }
      Action    = var.revision > 1 ? ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"] : ["ecr:BatchGetImage"]
    }]
  })
}

resource "aws_ecr_lifecycle_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "keep the newest"
      selection = {
        tagStatus   = "any"
        countType   = "imageCountMoreThan"
        countNumber = var.revision > 1 ? 20 : 10
      }
      action = { type = "expire" }
    }]
  })
}

data "aws_ecr_lifecycle_policy_document" "documented" {
  rule {
    priority    = 1
    description = "no untagged images"

    selection {
      tag_status   = "untagged"
      count_type   = "sinceImagePushed"
      count_unit   = "days"
      count_number = 14
    }
  }

  rule {
    priority = 2

    selection {
      tag_status       = "tagged"
      tag_pattern_list = ["dev-*"]
      count_type       = "imageCountMoreThan"
      count_number     = 5
    }

    action {
      type = "expire"
    }
  }
}

resource "aws_ecr_lifecycle_policy" "documented" {
  repository = aws_ecr_repository.documented.name
  policy     = data.aws_ecr_lifecycle_policy_document.documented.json
}

# The registry itself.
resource "aws_ecr_registry_policy" "registry" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "replicas"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:root" }
      Action    = var.revision > 1 ? ["ecr:ReplicateImage", "ecr:CreateRepository"] : ["ecr:ReplicateImage"]
      Resource  = "arn:aws:ecr:us-east-1:${data.aws_caller_identity.current.account_id}:repository/*"
    }]
  })
}

resource "aws_ecr_registry_scanning_configuration" "registry" {
  scan_type = "BASIC"

  rule {
    scan_frequency = "SCAN_ON_PUSH"

    repository_filter {
      filter      = var.revision > 1 ? "tf*" : "prod*"
      filter_type = "WILDCARD"
    }
  }
}

resource "aws_ecr_replication_configuration" "registry" {
  replication_configuration {
    rule {
      destination {
        region      = "eu-west-1"
        registry_id = data.aws_caller_identity.current.account_id
      }

      repository_filter {
        filter      = var.revision > 1 ? "tf/" : "prod/"
        filter_type = "PREFIX_MATCH"
      }
    }
  }
}

resource "aws_ecr_account_setting" "scope" {
  name  = "REGISTRY_POLICY_SCOPE"
  value = var.revision > 1 ? "V2" : "V1"
}

resource "aws_ecr_pull_through_cache_rule" "quay" {
  ecr_repository_prefix = "quay"
  upstream_registry_url = "quay.io"
}

resource "aws_secretsmanager_secret" "hub" {
  name                    = "ecr-pullthroughcache/hub"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "hub" {
  secret_id     = aws_secretsmanager_secret.hub.id
  secret_string = jsonencode({ username = "somebody", accessToken = "secret" })
}

resource "aws_ecr_pull_through_cache_rule" "hub" {
  ecr_repository_prefix      = "hub"
  upstream_registry_url      = "registry-1.docker.io"
  upstream_repository_prefix = "library"
  credential_arn             = aws_secretsmanager_secret_version.hub.arn
}

resource "aws_ecr_repository_creation_template" "quay" {
  prefix               = "quay"
  description          = "what comes from quay, revision ${var.revision}"
  applied_for          = ["PULL_THROUGH_CACHE"]
  image_tag_mutability = "IMMUTABLE"

  lifecycle_policy = jsonencode({
    rules = [{
      rulePriority = 1
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
      action       = { type = "expire" }
    }]
  })
}

# What there is.
data "aws_ecr_authorization_token" "token" {}

data "aws_ecr_repository" "app" {
  name       = aws_ecr_repository.app.name
  depends_on = [aws_ecr_repository.app]
}

data "aws_ecr_repositories" "all" {
  depends_on = [aws_ecr_repository.app, aws_ecr_repository.plain, aws_ecr_repository.documented]
}

data "aws_ecr_pull_through_cache_rule" "quay" {
  ecr_repository_prefix = aws_ecr_pull_through_cache_rule.quay.ecr_repository_prefix
}

# The test pushes the image between the revisions.
data "aws_ecr_image" "app" {
  count           = var.revision > 1 ? 1 : 0
  repository_name = "tf/app"
  image_tag       = "v1"
}

data "aws_ecr_image" "newest" {
  count           = var.revision > 1 ? 1 : 0
  repository_name = "tf/app"
  most_recent     = true
}

output "url" {
  value = data.aws_ecr_repository.app.repository_url
}

output "proxy" {
  value = data.aws_ecr_authorization_token.token.proxy_endpoint
}

output "repositories" {
  value = join(" ", sort(data.aws_ecr_repositories.all.names))
}

output "upstream" {
  value = data.aws_ecr_pull_through_cache_rule.quay.upstream_registry_url
}

output "image" {
  value = join(" ", [for i in data.aws_ecr_image.app : i.image_uri])
}
