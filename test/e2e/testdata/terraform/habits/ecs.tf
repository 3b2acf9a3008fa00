# What the widely used module for ECS sets, and every input of Fargate's.
resource "aws_ecs_cluster" "app" {
  name = "tf-habits"

  setting {
    name  = "containerInsights"
    value = var.revision > 1 ? "enabled" : "disabled"
  }

  configuration {
    execute_command_configuration {
      logging = "OVERRIDE"

      log_configuration {
        cloud_watch_log_group_name = "/ecs/exec"
      }
    }
  }

  tags = {
    Revision = var.revision
  }
}

resource "aws_ecs_cluster_capacity_providers" "app" {
  cluster_name       = aws_ecs_cluster.app.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = var.revision > 1 ? 2 : 1
  }
}

resource "aws_ecs_account_setting_default" "tags" {
  name  = "taskLongArnFormat"
  value = "enabled"
}

resource "aws_ecs_task_definition" "app" {
  family                   = "tf-habits"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.app.arn
  skip_destroy             = false

  ephemeral_storage {
    size_in_gib = 30
  }

  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([
    {
      name                   = "init"
      image                  = "busybox"
      essential              = false
      command                = ["true"]
      readonlyRootFilesystem = true
      mountPoints            = [{ sourceVolume = "scratch", containerPath = "/scratch" }]
    },
    {
      name             = "app"
      image            = "nginx"
      essential        = true
      cpu              = 256
      memory           = 512
      user             = "0"
      workingDirectory = "/"
      portMappings     = [{ containerPort = 80, hostPort = 80, protocol = "tcp", name = "http", appProtocol = "http" }]
      dependsOn        = [{ containerName = "init", condition = "SUCCESS" }]
      healthCheck      = { command = ["CMD-SHELL", "true"], interval = 10, timeout = 5, retries = 3, startPeriod = 5 }
      environment      = [{ name = "B", value = "2" }, { name = "A", value = tostring(var.revision) }]
      ulimits          = [{ name = "nofile", softLimit = 4096, hardLimit = 4096 }]
      stopTimeout      = 30
      linuxParameters  = { initProcessEnabled = true }
      mountPoints      = [{ sourceVolume = "scratch", containerPath = "/scratch", readOnly = true }]
      volumesFrom      = []
      systemControls   = []
    },
  ])
}

data "aws_ecs_task_definition" "app" {
  task_definition = aws_ecs_task_definition.app.family
  depends_on      = [aws_ecs_task_definition.app]
}

data "aws_ecs_container_definition" "app" {
  task_definition = aws_ecs_task_definition.app.arn
  container_name  = "app"
}

# Every input of Fargate's that a plan could find changed.
resource "aws_ecs_task_definition" "all" {
  family                   = "tf-all"
  requires_compatibilities = ["FARGATE", "EC2"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  execution_role_arn       = aws_iam_role.app.arn
  task_role_arn            = aws_iam_role.app.arn
  pid_mode                 = "task"
  track_latest             = true
  skip_destroy             = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "data"
  }

  container_definitions = jsonencode([
    {
      name              = "app"
      image             = "nginx:1.27"
      cpu               = 0
      memoryReservation = 256
      entryPoint        = ["/bin/sh"]
      command           = []
      environment       = []
      environmentFiles  = []
      secrets           = [{ name = "TOKEN", valueFrom = "arn:aws:ssm:us-east-1:000000000000:parameter/token" }]
      mountPoints       = [{ sourceVolume = "data", containerPath = "/data", readOnly = false }]
      portMappings = [
        { containerPort = 80 },
        { containerPort = 53, hostPort = 53, protocol = "udp" },
      ]
      healthCheck            = { command = ["CMD-SHELL", "curl -f http://localhost/ || exit 1"] }
      dependsOn              = []
      dockerLabels           = { "com.example.team" = "web" }
      linuxParameters        = { capabilities = { add = ["SYS_PTRACE"], drop = ["NET_RAW"] } }
      privileged             = false
      pseudoTerminal         = true
      interactive            = true
      readonlyRootFilesystem = false
      resourceRequirements   = []
      startTimeout           = 30
      stopTimeout            = 120
      systemControls         = [{ namespace = "net.core.somaxconn", value = "1024" }]
      ulimits                = [{ name = "nofile", softLimit = 1024, hardLimit = 4096 }]
      restartPolicy          = { enabled = true, ignoredExitCodes = [0], restartAttemptPeriod = 180 }
      versionConsistency     = "disabled"
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "/ecs/all"
          awslogs-region        = "us-east-1"
          awslogs-stream-prefix = "all"
          awslogs-create-group  = "true"
          mode                  = "non-blocking"
          max-buffer-size       = "25m"
        }
      }
    },
    {
      name        = "side"
      image       = "busybox"
      essential   = false
      cpu         = 10
      volumesFrom = [{ sourceContainer = "app", readOnly = true }]
      dependsOn   = [{ containerName = "app", condition = "HEALTHY" }]
    },
  ])

  tags = {
    Team = "web"
  }
}

resource "aws_ecs_task_definition" "plain" {
  family                   = "tf-plain"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  container_definitions    = jsonencode([{ name = "app", image = "nginx" }])
}

resource "aws_ecs_service" "all" {
  name                               = "all"
  cluster                            = aws_ecs_cluster.app.id
  task_definition                    = aws_ecs_task_definition.plain.arn
  desired_count                      = var.revision > 1 ? 2 : 1
  launch_type                        = "FARGATE"
  platform_version                   = "1.4.0"
  deployment_minimum_healthy_percent = var.revision > 1 ? 50 : 0
  deployment_maximum_percent         = 150
  enable_ecs_managed_tags            = true
  enable_execute_command             = false
  propagate_tags                     = var.revision > 1 ? "TASK_DEFINITION" : "SERVICE"
  wait_for_steady_state              = true
  force_delete                       = true
  availability_zone_rebalancing      = var.revision > 1 ? "ENABLED" : "DISABLED"

  triggers = {
    redeployment = var.revision
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = var.revision > 1
  }

  network_configuration {
    subnets          = [aws_default_subnet.a.id, aws_default_subnet.b.id]
    security_groups  = [aws_security_group.app.id]
    assign_public_ip = true
  }

  service_connect_configuration {
    enabled = false
  }

  tags = {
    Team = "web"
  }

  lifecycle {
    ignore_changes = [triggers]
  }
}

resource "aws_ecs_tag" "owner" {
  resource_arn = aws_ecs_cluster.bare.arn
  key          = "Owner"
  value        = "revision ${var.revision}"
}

resource "aws_ecs_cluster" "bare" {
  name = "tf-bare"

  lifecycle {
    ignore_changes = [tags]
  }
}

data "aws_ecs_clusters" "all" {
  depends_on = [aws_ecs_cluster.app, aws_ecs_cluster.bare]
}

data "aws_ecs_cluster" "app" {
  cluster_name = aws_ecs_cluster.app.name
}

output "container" {
  value = "${data.aws_ecs_container_definition.app.image} ${data.aws_ecs_container_definition.app.cpu} ${data.aws_ecs_container_definition.app.memory}"
}

output "clusters" {
  value = length(data.aws_ecs_clusters.all.cluster_arns)
}

resource "aws_ecs_service" "app" {
  name                               = "app"
  cluster                            = aws_ecs_cluster.app.arn
  task_definition                    = aws_ecs_task_definition.app.arn
  desired_count                      = 1
  platform_version                   = "LATEST"
  scheduling_strategy                = "REPLICA"
  enable_ecs_managed_tags            = true
  force_new_deployment               = true
  health_check_grace_period_seconds  = 60
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
    base              = 1
  }

  deployment_controller {
    type = "ECS"
  }

  network_configuration {
    subnets         = [aws_default_subnet.a.id, aws_default_subnet.b.id]
    security_groups = [aws_security_group.app.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.app.arn
    container_name   = "app"
    container_port   = 80
  }

  timeouts {
    delete = "5m"
  }

  depends_on = [aws_lb_listener.app, aws_ecs_cluster_capacity_providers.app]
}

data "aws_ecs_service" "app" {
  service_name = aws_ecs_service.app.name
  cluster_arn  = aws_ecs_cluster.app.arn
}
