using System.IO;
using Xunit;

namespace XenDM.Testing;

/// <summary>A test that needs files of the host, or the absence of one; skipped elsewhere, with the reason.</summary>
public sealed class HostFactAttribute : FactAttribute
{
    public HostFactAttribute(params string[] needs) => Skip = TestHost.Lacks(needs);

    /// <summary>A file that must not be there.</summary>
    public string? Without
    {
        get => field;
        set => Skip ??= TestHost.Has(field = value);
    }
}

/// <inheritdoc cref="HostFactAttribute"/>
public sealed class HostTheoryAttribute : TheoryAttribute
{
    public HostTheoryAttribute(params string[] needs) => Skip = TestHost.Lacks(needs);

    /// <inheritdoc cref="HostFactAttribute.Without"/>
    public string? Without
    {
        get => field;
        set => Skip ??= TestHost.Has(field = value);
    }
}

/// <summary>What tests ask of the host.</summary>
public static class TestHost
{
    /// <summary>Who opens it is in a domain of Xen's that may control others: there, what is said without Xen cannot be seen.</summary>
    public const string XenDevice = "/dev/xen/privcmd";

    /// <summary>Where Debian and its descendants keep libraries.</summary>
    public const string Libraries = "/usr/lib/x86_64-linux-gnu/";

    internal static string? Lacks(string[] needs)
    {
        foreach (var path in needs)
        {
            if (!Path.Exists(path)) return $"{path} is not on this host: NOT checked";
        }

        return null;
    }

    internal static string? Has(string? path) => Path.Exists(path) ? $"{path} is on this host: what happens without it is NOT checked" : null;
}
