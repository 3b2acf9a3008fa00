# A Fargate service behind an Application Load Balancer, in a VPC of its own.

# The endpoint and the keys come from the environment: eval "$(roadstead env)".
# Against AWS it is the same file with AWS's own environment.
provider "aws" {
  region = var.region
}

data "aws_availability_zones" "available" {
  state = "available"
}

locals {
  azs            = slice(data.aws_availability_zones.available.names, 0, 2)
  container_port = 8080
  tags           = { Example = var.name }
}

module "vpc" {
  source = "./modules/vpc"

  name               = var.name
  cidr               = "10.40.0.0/16"
  azs                = local.azs
  public_subnets     = ["10.40.0.0/24", "10.40.1.0/24"]
  private_subnets    = ["10.40.10.0/24", "10.40.11.0/24"]
  enable_nat_gateway = true
  single_nat_gateway = true
  tags               = local.tags
}

# The image: a repository, and the sample app in it. A pipeline would push
# with docker; push builds and pushes without it.
resource "aws_ecr_repository" "app" {
  name                 = var.name
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true

  image_scanning_configuration {
    scan_on_push = true
  }

  tags = local.tags
}

resource "aws_ecr_lifecycle_policy" "app" {
  repository = aws_ecr_repository.app.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "keep ten images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

resource "terraform_data" "image" {
  input            = "${aws_ecr_repository.app.repository_url}:${var.image_tag}"
  triggers_replace = [aws_ecr_repository.app.repository_url, var.image_tag]

  provisioner "local-exec" {
    command     = "go run ./examples/terraform/push -image ${self.input}"
    working_dir = var.sources
    environment = { AWS_REGION = var.region }
  }
}

# The load balancer, where everybody may come in.
resource "aws_security_group" "lb" {
  name        = "${var.name}-lb"
  description = "HTTP from everywhere"
  vpc_id      = module.vpc.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "lb" {
  security_group_id = aws_security_group.lb.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "lb" {
  security_group_id = aws_security_group.lb.id
  cidr_ipv4         = module.vpc.vpc_cidr_block
  ip_protocol       = "-1"
}

resource "aws_lb" "this" {
  name            = var.name
  subnets         = module.vpc.public_subnets
  security_groups = [aws_security_group.lb.id]
  tags            = local.tags
}

resource "aws_lb_target_group" "app" {
  name                 = var.name
  port                 = local.container_port
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = module.vpc.vpc_id
  deregistration_delay = 5

  health_check {
    path              = "/health"
    interval          = 5
    timeout           = 2
    healthy_threshold = 2
  }

  tags = local.tags
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.app.arn
  }

  tags = local.tags
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "disabled"
  }

  tags = local.tags
}

module "service" {
  source = "./modules/service"

  name          = var.name
  cluster_arn   = aws_ecs_cluster.this.arn
  cpu           = 256
  memory        = 512
  desired_count = var.desired_count

  container_definitions = {
    web = {
      image         = terraform_data.image.output # there once it was pushed
      port_mappings = [{ name = "http", containerPort = local.container_port, protocol = "tcp" }]
      environment = [
        { name = "PORT", value = tostring(local.container_port) },
      ]
      readonly_root_filesystem = true
    }
  }

  load_balancer = {
    service = {
      # By way of the listener: without one the group has no load balancer.
      target_group_arn = aws_lb_listener.http.default_action[0].target_group_arn
      container_name   = "web"
      container_port   = local.container_port
    }
  }

  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.private_subnets
  security_group_rules = {
    lb = {
      type                     = "ingress"
      from_port                = local.container_port
      to_port                  = local.container_port
      protocol                 = "tcp"
      source_security_group_id = aws_security_group.lb.id
    }
    egress = {
      type        = "egress"
      from_port   = 0
      to_port     = 0
      protocol    = "-1"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }

  tags = local.tags
}
