#include "tests/support/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <future>
#include <stdexcept>

#include "tests/support/fixtures.h"

extern char** environ;

namespace tessera::tests {
namespace {

std::vector<std::string> WithFreePort(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--grpc-port", "0"});
  return arguments;
}

}  // namespace

Process::Process(const std::filesystem::path& program, const std::vector<std::string>& arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  output_fd_ = ends[0];
  std::promise<int> started;
  std::future<int> error = started.get_future();
  // A child ends with the thread that has started it.
  reader_ = std::thread(
      [this, &program, &arguments, started = std::move(started), output = ends[1]]() mutable {
        started.set_value(Start(program, arguments, output));
        ReadOutput();
        MutexLock lock(mutex_);
        while (!over_) changed_.Wait(mutex_);
      });
  const int failed = error.get();
  close(ends[1]);
  if (failed == 0) return;
  End();
  throw std::runtime_error("cannot start " + program.string() + ": " + std::strerror(failed));
}

Process::~Process() {
  if (!exit_code_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  End();
}

int Process::Start(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                   int output) {
  std::string path = program.string();
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv = {path.data()};
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) != 0) return errno;
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    // However this process ends, its children do not stay behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execve(path.c_str(), argv.data(), environ);
    const int error = errno;
    [[maybe_unused]] const ssize_t told = write(failure[1], &error, sizeof error);
    _exit(127);
  }
  int error = pid_ < 0 ? errno : 0;
  close(failure[1]);
  // Nothing comes of a program that is started.
  if (pid_ > 0 && read(failure[0], &error, sizeof error) != sizeof error) error = 0;
  close(failure[0]);
  if (pid_ > 0 && error != 0) waitpid(pid_, nullptr, 0);
  return error;
}

void Process::End() {
  // Grandchildren may hold the pipe open: the reader gives up once the program is gone.
  {
    MutexLock lock(mutex_);
    ended_ = true;
    over_ = true;
    changed_.NotifyAll();
  }
  reader_.join();
  close(output_fd_);
}

void Process::ReadOutput() {
  char buffer[4096];
  while (true) {
    pollfd ready = {output_fd_, POLLIN, 0};
    int count = poll(&ready, 1, /*timeout=*/50);
    if (count == 0) {
      MutexLock lock(mutex_);
      if (ended_) return;
      continue;
    }
    ssize_t size = read(output_fd_, buffer, sizeof buffer);
    MutexLock lock(mutex_);
    if (size > 0) output_.append(buffer, static_cast<size_t>(size));
    if (size <= 0) ended_ = true;
    changed_.NotifyAll();
    if (ended_) return;
  }
}

std::string Process::output() const {
  MutexLock lock(mutex_);
  return output_;
}

std::optional<std::string> Process::WaitForLine(const std::string& text,
                                                std::chrono::seconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  MutexLock lock(mutex_);
  while (true) {
    size_t at = output_.find(text);
    size_t end = at == std::string::npos ? at : output_.find('\n', at);
    if (end != std::string::npos) {
      size_t begin = output_.rfind('\n', at);
      begin = begin == std::string::npos ? 0 : begin + 1;
      return output_.substr(begin, end - begin);
    }
    if (ended_ || !changed_.WaitUntil(mutex_, deadline)) return std::nullopt;
  }
}

void Process::Signal(int number) { kill(pid_, number); }

std::optional<int> Process::WaitForExit(std::chrono::seconds limit) {
  if (exit_code_) return exit_code_;
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended = {pidfd, POLLIN, 0};
  int count = poll(&ended, 1, static_cast<int>(limit.count() * 1000));
  close(pidfd);
  if (count <= 0) return std::nullopt;
  int status = 0;
  waitpid(pid_, &status, 0);
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

TcpWorker::TcpWorker(const std::string& secret_file, const std::string& host)
    : process_(Program("tessera-worker"),
               {"--listen", host + ":0", "--threads", "1", "--secret-file", secret_file}) {
  const std::string line = process_.WaitForLine("listening on ").value();
  address_ = line.substr(line.find("listening on ") + 13);
}

Server::Server(std::vector<std::string> arguments)
    : process_(Program("tessera-server"), WithFreePort(std::move(arguments))) {
  auto line = process_.WaitForLine("ready: ");
  if (!line) throw std::runtime_error("the server is not ready; its log:\n" + process_.output());
  target_ = line->substr(line->rfind(' ') + 1);
}

std::optional<int> Server::Stop() {
  process_.Signal(SIGTERM);
  return process_.WaitForExit();
}

}  // namespace tessera::tests
