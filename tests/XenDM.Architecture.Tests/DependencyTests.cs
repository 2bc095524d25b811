using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Xml.Linq;

namespace XenDM.Architecture.Tests;

/// <summary>The dependency rule, read from the project files: Core knows nothing, Devices know Core, the boards in src/XenDM plug the world in.</summary>
public class DependencyTests
{
    private static readonly Dictionary<string, string[]> s_allowed = new()
    {
        ["XenDM.Core"] = [],
        ["XenDM.Interop"] = [],
        ["XenDM.Devices"] = ["XenDM.Core"],
        ["XenDM.Platform"] = ["XenDM.Core"],
        ["XenDM.PvBackends"] = ["XenDM.Core"],
        ["XenDM.Cpu"] = ["XenDM.Core", "Iced"],
        ["XenDM.Backends"] = ["XenDM.Core", "XenDM.Interop", "System.IO.Pipelines"],
        ["XenDM.Hypervisor"] = ["XenDM.Core", "XenDM.Cpu", "XenDM.Platform", "XenDM.Interop", "System.IO.Pipelines"],
        ["XenDM.Vnc"] = ["XenDM.Core", "System.IO.Pipelines"],
        ["XenDM.Monitor"] = ["XenDM.Core", "System.IO.Pipelines"],
        ["XenDM.Web"] = [],
        ["XenDM"] =
        [
            "XenDM.Core", "XenDM.Interop", "XenDM.Devices", "XenDM.Platform", "XenDM.PvBackends", "XenDM.Cpu", "XenDM.Backends", "XenDM.Hypervisor", "XenDM.Vnc", "XenDM.Monitor",
            "Serilog", "Serilog.Sinks.Console", "System.CommandLine", "Spectre.Console",
        ],
    };

    public static TheoryData<string> Projects => [.. Directory.GetDirectories(Path.Combine(Root(), "src")).Select(static f => Path.GetFileName(f)).Where(static n => n.StartsWith("XenDM", StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(Projects))]
    public void ReferencesOnlyWhatItMay(string project)
    {
        Assert.True(s_allowed.ContainsKey(project), $"{project} is not in the table of design.md section 1");
        var file = XDocument.Load(Path.Combine(Root(), "src", project, project + ".csproj"));
        var references = file.Descendants("ProjectReference").Concat(file.Descendants("PackageReference"))
            .Select(static e => Path.GetFileNameWithoutExtension(e.Attribute("Include")!.Value.Replace('\\', '/') + (e.Name == "PackageReference" ? ".csproj" : "")));
        Assert.Empty(references.Except(s_allowed[project]));
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void UnsafeCodeIsWhereItMayBe(string project)
    {
        var file = XDocument.Load(Path.Combine(Root(), "src", project, project + ".csproj"));
        var isUnsafe = file.Descendants("AllowUnsafeBlocks").Any(static e => e.Value == "true");
        Assert.True(!isUnsafe || project is "XenDM.Interop" or "XenDM.Cpu" or "XenDM.Hypervisor", $"{project} may not be unsafe");
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void HasAReadme(string project) => Assert.True(File.Exists(Path.Combine(Root(), "src", project, "README.md")), $"src/{project}/README.md is missing");

    [Fact]
    public void NoSourceFileIsTooLong()
    {
        var tooLong = Sources().Where(static f => File.ReadLines(f).Count() > 900).Select(Path.GetFileName);
        Assert.Empty(tooLong);
    }

    [Fact]
    public void NamespacesFollowFolders()
    {
        var wrong = new List<string>();
        foreach (var file in Sources())
        {
            var folder = Path.GetRelativePath(Path.Combine(Root(), "src"), Path.GetDirectoryName(file)!).Replace('/', '.');
            var line = File.ReadLines(file).FirstOrDefault(static l => l.StartsWith("namespace ", StringComparison.Ordinal));
            if (line is not null && line.TrimEnd(';')["namespace ".Length..] != folder) wrong.Add($"{file}: {line}");
        }

        Assert.Empty(wrong);
    }

    private static IEnumerable<string> Sources() => Directory.EnumerateFiles(Path.Combine(Root(), "src"), "*.cs", SearchOption.AllDirectories)
        .Where(static f => !f.Contains("/obj/", StringComparison.Ordinal) && !f.Contains("/bin/", StringComparison.Ordinal));

    private static string Root()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "XenDM.sln"))) return folder.FullName;
        throw new DirectoryNotFoundException("XenDM.sln is in no folder above the tests");
    }
}
