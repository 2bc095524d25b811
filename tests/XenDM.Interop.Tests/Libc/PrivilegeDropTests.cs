using System.IO;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Tests.Libc;

public sealed class PrivilegeDropTests
{
    [Theory]
    [InlineData("1000:1001", 1000u, 1001u)]
    [InlineData("65536:0", 65536u, 0u)]
    public void Numbers_NeedNoUser(string text, uint uid, uint gid)
    {
        Assert.Equal(new PrivilegeDrop.Identity(null, uid, gid), PrivilegeDrop.Find(text, out var error));
        Assert.Empty(error);
    }

    [Fact]
    public void Name_GivesItsGroup()
    {
        var identity = PrivilegeDrop.Find("nobody", out _);
        var entry = Posix.FindUser("nobody");
        Assert.Equal(entry is null ? null : new PrivilegeDrop.Identity("nobody", entry.Uid, entry.Gid), identity);
    }

    /// <summary>The largest number means "leave it as it is" to the calls below: root would stay.</summary>
    [Theory]
    [InlineData("no-such-user-here", "there is no user")]
    [InlineData("", "there is no user")]
    [InlineData(":", "there is no user")]
    [InlineData("1000:", "there is no user")]
    [InlineData("1000:-1", "there is no user")]
    [InlineData("1000:4294967296", "there is no user")]
    [InlineData("1000:4294967295", "other than root")]
    [InlineData("4294967295:1000", "other than root")]
    [InlineData("0:1000", "other than root")]
    [InlineData("root", "other than root")]
    public void UnusableUser_IsNamed(string text, string words)
    {
        Assert.Null(PrivilegeDrop.Find(text, out var error));
        Assert.Contains(words, error, System.StringComparison.Ordinal);
        Assert.Contains($"'{text}'", error, System.StringComparison.Ordinal);
    }

    [RootFact]
    public void Drop_BindsThreadsThatWereThereBefore()
    {
        using var folder = new TempFolder();
        Directory.CreateDirectory(folder.File("root"));
        Assert.Equal("dropped: uid 54321, gid 54322, /etc/passwd -2, root -1 -1 -1", ChildProcess.Run("drop", [folder.File("root"), "54321:54322"]));
    }

    [RootFact]
    public void Drop_WithoutThatRoot_SaysSo()
    {
        using var folder = new TempFolder();
        Assert.StartsWith(
            $"cannot change the root directory to '{folder.File("nothing")}': No such file or directory: ",
            ChildProcess.Run("drop", [folder.File("nothing"), "54321:54322"]),
            System.StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_ToDrop_IsFine() => Assert.Null(PrivilegeDrop.Apply(null, null));
}
