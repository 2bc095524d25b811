using System;
using System.Diagnostics;
using System.IO;
using XenDM.Machines.Firmware;

namespace XenDM.Tests.Firmware;

/// <summary>A test that needs ACPICA's compiler.</summary>
public sealed class IaslFactAttribute : FactAttribute
{
    public IaslFactAttribute()
    {
        if (!File.Exists(IaslTests.Compiler)) Skip = $"{IaslTests.Compiler} is not installed (package acpica-tools): the ACPI tables are NOT checked by it";
    }
}

/// <summary>ACPICA reads our tables, and compiles what it read back to the same machine language.</summary>
public sealed class IaslTests : IDisposable
{
    internal const string Compiler = "/usr/bin/iasl";

    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-iasl-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [IaslFact]
    public void EveryTableIsAccepted()
    {
        Check(AcpiTablesTests.Options());
        Check(new AcpiOptions(1, 1, 1 << 29) { HasHpet = false, HasPs2 = false, SerialPorts = 0, PmControl = AcpiOptions.SeaBiosPmControl });
        Check(new AcpiOptions(2, 128, 0xc000_0000) { CanSuspend = true, PciLinkOffset = 3 });
    }

    private void Check(AcpiOptions options)
    {
        foreach (var (signature, table) in AcpiTablesTests.Placed(options))
        {
            var binary = Path.Combine(_folder, signature + ".aml");
            var source = Path.Combine(_folder, signature + ".dsl");
            File.WriteAllBytes(binary, table);
            File.Delete(source);
            var said = Run("-d", binary);
            Assert.True(File.Exists(source), said);
            Assert.DoesNotContain("rror", said.Replace("0 Errors", "", StringComparison.Ordinal), StringComparison.Ordinal);
            Assert.DoesNotContain("**** ", File.ReadAllText(source), StringComparison.Ordinal);
            if (signature is "FACS" or "RSDT" or "XSDT") continue;
            said = Run("-ve", "-oa", source);
            Assert.DoesNotContain("Error ", said, StringComparison.Ordinal);
            if (signature == "DSDT") Assert.Equal(Body(table), Body(File.ReadAllBytes(binary)));
        }
    }

    /// <summary>The compiler writes its own name and version into the header.</summary>
    private static string Body(byte[] table) => Convert.ToHexString(table.AsSpan(36));

    private string Run(params string[] arguments)
    {
        var start = new ProcessStartInfo(Compiler) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd() + errors.Result;
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, output);
        return output;
    }
}
