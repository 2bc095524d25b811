using System;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Linq;

namespace XenDM.Run;

/// <summary>
/// Files out of a Debian-like distribution's packages without installing anything: apt downloads, dpkg-deb unpacks. Where the host has no lists
/// of packages, or is of another architecture, lists of our own are kept in a folder, so that no privileges are needed either.
/// </summary>
internal sealed class DebPackages
{
    private readonly string _folder;
    private readonly string _state;
    private bool _ownLists;

    /// <param name="folder">Where to work; the caller removes it.</param>
    public DebPackages(string folder)
    {
        _folder = folder;
        _state = Path.Combine(folder, "apt");
    }

    /// <summary>The host has the programs.</summary>
    public static bool IsThere => File.Exists("/usr/bin/apt-get") && File.Exists("/usr/bin/dpkg-deb");

    /// <summary>The first of several names that the distribution has.</summary>
    /// <exception cref="IOException">It has none.</exception>
    public string FirstOf(params string[] names)
    {
        foreach (var name in names)
            if (Has(name)) return name;
        UpdateOwnLists();
        foreach (var name in names)
            if (Has(name)) return name;
        throw new IOException($"there is no package {string.Join(" or ", names)}");
    }

    /// <summary>The package with the kernel that a name such as linux-image-amd64 stands for.</summary>
    /// <exception cref="IOException">There is none.</exception>
    public string KernelOf(string name)
    {
        foreach (var line in Apt("apt-cache", "depends", name).Split('\n'))
        {
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words is ["Depends:", var package] && package.StartsWith("linux-image-", StringComparison.Ordinal)) return package;
        }

        return name;
    }

    /// <summary>Downloads packages and unpacks them into one folder.</summary>
    /// <returns>The folder, a root file system in part.</returns>
    /// <exception cref="IOException">It did not work; the message says why.</exception>
    public string Unpack(params string[] names)
    {
        var root = Path.Combine(_folder, "root");
        Directory.CreateDirectory(root);
        Apt("apt-get", ["-q", "download", .. names]);
        foreach (var package in Directory.EnumerateFiles(_folder, "*.deb")) Run("dpkg-deb", "-x", package, root);
        return root;
    }

    private bool Has(string name)
    {
        try
        {
            return Apt("apt-cache", "show", "--no-all-versions", name).Length > 0;
        }
        catch (IOException)
        {
            return false;
        }
    }

    private void UpdateOwnLists()
    {
        _ownLists = true;
        foreach (var part in (string[])["lists/partial", "cache/archives/partial"]) Directory.CreateDirectory(Path.Combine(_state, part));
        File.WriteAllText(Path.Combine(_state, "status"), "");
        Apt("apt-get", "-q", "update");
    }

    private string Apt(string program, params string[] arguments)
    {
        string[] own = _ownLists
            ? ["-o", $"Dir::State={_state}", "-o", $"Dir::State::lists={_state}/lists", "-o", $"Dir::State::status={_state}/status", "-o", $"Dir::Cache={_state}/cache",
               "-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o", "APT::Sandbox::User="]
            : ["-o", "APT::Sandbox::User="];
        return Run(program, [.. own, .. arguments]);
    }

    private string Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        start.Environment["LC_ALL"] = "C";
        try
        {
            using var process = Process.Start(start) ?? throw new IOException($"{program} did not start");
            process.StandardInput.Close();
            var errors = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode == 0) return output;
            var why = errors.Result.Split('\n').FirstOrDefault(static l => l.StartsWith("E:", StringComparison.Ordinal)) ?? errors.Result.Split('\n')[0];
            throw new IOException($"{program}: {why}");
        }
        catch (Win32Exception e)
        {
            throw new IOException($"{program}: {e.Message}");
        }
    }
}
