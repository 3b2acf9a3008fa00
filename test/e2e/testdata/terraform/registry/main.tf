provider "aws" {}

data "aws_caller_identity" "current" {}

resource "aws_ecr_repository" "app" {
  name                 = "tf/app"
  image_tag_mutability = var.revision > 1 ? "MUTABLE" : "IMMUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = false
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

data "aws_ecr_authorization_token" "token" {}

data "aws_ecr_repository" "app" {
  name       = aws_ecr_repository.app.name
  depends_on = [aws_ecr_repository.app]
}

output "url" {
  value = data.aws_ecr_repository.app.repository_url
}

output "proxy" {
  value = data.aws_ecr_authorization_token.token.proxy_endpoint
}
